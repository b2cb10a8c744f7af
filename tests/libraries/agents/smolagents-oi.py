# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["smolagents", "openai", "openinference-instrumentation-smolagents", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""smolagents: a manager and a managed agent, with OpenInference."""

import os

from openinference.instrumentation.smolagents import SmolagentsInstrumentor
from smolagents import OpenAIServerModel, ToolCallingAgent, tool
from weather import ask_all, get_weather, provider

SmolagentsInstrumentor().instrument(tracer_provider=provider())


@tool
def weather(city: str) -> str:
    """
    The weather in a city.

    Args:
        city: Name of the city.
    """
    return get_weather(city)


model = OpenAIServerModel(
    "gpt-4o-mini", api_base=os.environ["OPENAI_BASE_URL"], api_key="none", client_kwargs={"max_retries": 0}
)
agent = ToolCallingAgent(tools=[weather], model=model, max_steps=2)
ask_all(agent.run)
