# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["pydantic-ai-slim[openai]", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Pydantic AI, streamed: a call that was refused repeats the name that was asked for as the model that answered."""

from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
from weather import ask_all, get_weather, provider

Agent.instrument_all(InstrumentationSettings(tracer_provider=provider(), version=5))
agent = Agent("openai-chat:gpt-4o-mini", name="streamer", tools=[get_weather])


async def ask(question: str) -> None:
    async with agent.run_stream(question) as answer:
        async for _ in answer.stream_text():
            pass


ask_all(ask)
