"""What the agents have in common: the questions, the one tool, and where spans go."""

import asyncio
import inspect
import os
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

QUESTIONS = ("What is the weather in Oslo?", "TOOLFAIL: what is the weather?", "MODELFAIL now")
"""A run with a tool call, one whose tool fails, one whose model call fails."""


def provider() -> TracerProvider:
    """A provider that sends spans to the recorder, and is the global one."""
    made = TracerProvider()
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(made)
    return made


def instrument_all() -> None:
    """Switch on every instrumentation that is installed, content included."""
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"
    made = provider()
    for entry in entry_points(group="opentelemetry_instrumentor"):
        entry.load()().instrument(tracer_provider=made)


def get_weather(city: str) -> str:
    """The weather in a city."""
    if city == "nowhere":
        raise ValueError("no such city")
    return f"sunny in {city}"


def ask_all(ask: Callable[[str], Any]) -> None:
    """Each question in a run of its own; a run that fails is what was wanted."""
    asyncio.run(_ask_all(ask))
    made = trace.get_tracer_provider()
    if isinstance(made, TracerProvider):
        made.force_flush()


async def _ask_all(ask: Callable[[str], Any]) -> None:
    for question in QUESTIONS:
        try:
            answer = ask(question)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:
            print(f"{question} {type(error).__name__}: {error}")
