# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["google-genai<3", "opentelemetry-instrumentation-google-genai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Google's client of Gemini with OpenTelemetry's own instrumentation."""

import os

from google import genai
from google.genai import types
from opentelemetry.instrumentation.google_genai import GoogleGenAiSdkInstrumentor
from weather import ask_all, get_weather, provider

provider()
GoogleGenAiSdkInstrumentor().instrument()
client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=os.environ["FAKE_MODELS"]))
ask_all(
    lambda question: client.models.generate_content(
        model="gemini-2.5-flash", contents=question, config=types.GenerateContentConfig(tools=[get_weather])
    )
)
