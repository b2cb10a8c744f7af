# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["openai-agents", "logfire", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""OpenAI Agents SDK with Logfire, whose spans of agents and tools say so by their names alone."""

import logfire
from agents import Agent, Runner, function_tool
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from weather import ask_all, get_weather

logfire.configure(
    send_to_logfire=False,
    console=False,
    service_name="weather-agent",
    additional_span_processors=[BatchSpanProcessor(OTLPSpanExporter())],
)
logfire.instrument_openai_agents()


@function_tool(failure_error_function=None)
def weather(city: str) -> str:
    return get_weather(city)


agent = Agent(name="weather", model="gpt-4o-mini", tools=[weather])
ask_all(lambda question: Runner.run(agent, question))
logfire.force_flush()
