# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["dspy", "opentelemetry-instrumentation-genai-dspy", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""DSPy with OpenTelemetry's own instrumentation."""

import dspy
from weather import ask_all, instrument_all

instrument_all()
dspy.configure(lm=dspy.LM("openai/gpt-4o-mini", num_retries=0, cache=False), adapter=dspy.ChatAdapter())
agent = dspy.Predict("question -> answer")
ask_all(lambda question: agent(question=question))
