"""
Libraries whose spans were tried, by the name of their instrumentation scope, and what each leaves out.

`python -m monitor.trace.libraries` prints the table of docs/traces.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple


class Library(NamedTuple):
    """A library, what the names of its scopes begin with, and what makes it write what it leaves out."""

    name: str
    scope: str
    leaves_out: str = ""
    switch: str = ""


_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true"
_CLIENT_TOO = "instrument the client of the model as well"

LIBRARIES: tuple[Library, ...] = (
    Library("OpenInference for CrewAI", "openinference.instrumentation.crewai", "models", _CLIENT_TOO),
    Library("OpenInference for Haystack", "openinference.instrumentation.haystack", "agents and models", _CLIENT_TOO),
    Library("OpenInference for AutoGen", "openinference.instrumentation.autogen", "tools on offer"),
    Library(
        "OpenInference for DSPy", "openinference.instrumentation.dspy", "the model that answered, tokens", _CLIENT_TOO
    ),
    Library("OpenInference for smolagents", "openinference.instrumentation.smolagents", "the model that answered"),
    Library("OpenInference for Agno", "openinference.instrumentation.agno", "the model that answered"),
    Library(
        "OpenInference for LiteLLM", "openinference.instrumentation.litellm", "the model that answered, tool calls"
    ),
    Library("OpenInference", "openinference.instrumentation."),
    Library("OpenLLMetry for LlamaIndex", "opentelemetry.instrumentation.llamaindex", "models", _CLIENT_TOO),
    Library(
        "OpenAI Agents SDK, OpenTelemetry",
        "opentelemetry.instrumentation.openai_agents",
        "the model of a call that failed, tools on offer",
        _CAPTURE,
    ),
    Library("OpenAI, OpenTelemetry", "opentelemetry.instrumentation.openai_v2", "text, tool calls", _CAPTURE),
    Library("OpenLLMetry", "opentelemetry.instrumentation."),
    Library("Traceloop", "traceloop.tracer", "tool calls of functions without @tool", "decorate your tools with @tool"),
    Library("Langfuse", "langfuse-sdk"),
    Library("LangSmith", "langsmith"),
    Library("MLflow", "mlflow.", "the model that answered"),
    Library("Pydantic AI", "pydantic-ai"),
    Library("Logfire", "logfire"),
    Library("Vercel AI SDK", "gen_ai"),
    Library("Semantic Kernel", "semantic_kernel.", "the model that answered"),
    Library("Microsoft Agent Framework", "agent_framework", "text and tools", "ENABLE_SENSITIVE_DATA=true"),
    Library("AutoGen", "autogen-core", "models, text, tokens", _CLIENT_TOO),
    Library("Google ADK", "gcp.vertex.agent", "the model that answered, text", _CAPTURE),
    Library("Strands Agents", "strands.telemetry", "the model that answered, parameters of tools"),
    Library("LiteLLM", "litellm", "tool calls"),
    Library("Grafana agento11y", "github.com/grafana/sigil", "text, tools; traces of LangGraph runs"),
    Library("OpenLIT", "openlit."),
)
"""The first whose scope a name begins with is the library."""


def library_of(scope: str) -> Library | None:
    """The library that writes spans under *scope*, or None where it was not tried."""
    return next((library for library in LIBRARIES if scope.startswith(library.scope)), None)


def as_markdown() -> str:
    """The table, a line for each library."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| library | scope | what it leaves out | the switch |"
    yield "|---|---|---|---|"
    for library in LIBRARIES:
        yield f"| {library.name} | `{library.scope}` | {library.leaves_out} | {library.switch} |"


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
