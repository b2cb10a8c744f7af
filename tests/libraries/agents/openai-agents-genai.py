# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["openai-agents", "opentelemetry-instrumentation-genai-openai-agents", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""OpenAI Agents SDK with OpenTelemetry's own instrumentation: a triage agent that hands over."""

from agents import Agent, Runner, function_tool
from weather import ask_all, get_weather, instrument_all

instrument_all()
agent = Agent(name="weather", model="gpt-4o-mini", tools=[function_tool(get_weather, failure_error_function=None)])
ask_all(lambda question: Runner.run(agent, question))
