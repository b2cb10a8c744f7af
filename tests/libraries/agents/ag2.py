# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["ag2[openai,tracing]", "openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""AG2 with its own telemetry, which writes the tokens of a call a second time."""

from ag2 import Agent
from ag2.config import OpenAIConfig
from ag2.middleware.builtin.telemetry import TelemetryMiddleware
from weather import ask_all, get_weather, provider

provider()


async def ask(question: str) -> None:
    config = OpenAIConfig(model="gpt-4o-mini", api_key="none")
    telemetry = TelemetryMiddleware(agent_name="weather", capture_content=True)
    await Agent("weather", "Be brief.", config=config, tools=[get_weather], middleware=[telemetry]).ask(question)


ask_all(ask)
