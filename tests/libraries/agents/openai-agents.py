# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["openai-agents", "openinference-instrumentation-openai-agents", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""OpenAI Agents SDK with OpenInference."""

from agents import Agent, Runner, function_tool
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
from weather import ask_all, get_weather, provider

OpenAIAgentsInstrumentor().instrument(tracer_provider=provider())
tool = function_tool(get_weather, failure_error_function=None)
agent = Agent(name="weather", model="gpt-4o-mini", tools=[tool])
ask_all(lambda question: Runner.run(agent, question))
