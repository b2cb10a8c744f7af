# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["google-genai", "openinference-instrumentation-google-genai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Google's client of Gemini with OpenInference."""

import os

from google import genai
from google.genai import types
from openinference.instrumentation.google_genai import GoogleGenAIInstrumentor
from weather import ask_all, get_weather, provider

GoogleGenAIInstrumentor().instrument(tracer_provider=provider())
client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=os.environ["FAKE_MODELS"]))
ask_all(
    lambda question: client.models.generate_content(
        model="gemini-2.5-flash", contents=question, config=types.GenerateContentConfig(tools=[get_weather])
    )
)
