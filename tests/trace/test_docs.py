"""docs/traces.md says what the code does, and its examples are ones that work."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from langfuse import Langfuse
from pydantic import TypeAdapter

from monitor.trace.decoded import Ignored
from monitor.trace.model import DropReason
from monitor.trace.semconv import as_markdown
from monitor.trace.settings import OutcomeSettings, TraceSettings

TEXT = Path("docs/traces.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_table_is_the_one_that_is_read() -> None:
    """The table is generated; `python -m monitor.trace.semconv` prints what has to stand there."""
    assert f"do not edit. -->\n\n{as_markdown()}\n<!-- End" in TEXT


def test_every_reason_is_listed() -> None:
    """Reasons of dead letters, and of what is left aside, are the ones that are counted."""
    section = TEXT[TEXT.index("## What is refused") :]

    assert {*DropReason, *Ignored} == set(re.findall(r"`(\w+)`", section))


def test_sources_are_listed_in_their_order() -> None:
    """The table of sources has the default order of the settings."""
    section = TEXT[TEXT.index("| source |") :]

    assert OutcomeSettings().sources == tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    "settings", [yaml.safe_load(block) for block in blocks("yaml")], ids=lambda block: str(list(block))
)
def test_config_blocks_are_accepted(settings: dict[str, Any]) -> None:
    """Our own examples are valid settings; the Collector's are whole pipelines into Kafka."""
    if "traces" in settings:
        TypeAdapter(TraceSettings).validate_python(settings["traces"], strict=False)
    else:
        assert all(pipeline["exporters"] == ["kafka"] for pipeline in settings["service"]["pipelines"].values())


@pytest.mark.parametrize("code", blocks("python"))
def test_code_blocks_are_python(code: str) -> None:
    """Each block can be compiled."""
    assert ast.parse(code).body


def test_langfuse_has_what_the_example_calls() -> None:
    """The client can be given a provider, and its interface lists scores from an instant on."""
    import inspect  # noqa: PLC0415

    from langfuse.api.scores.client import ScoresClient  # noqa: PLC0415

    assert {"tracer_provider", "environment", "release"} <= inspect.signature(Langfuse).parameters.keys()
    assert {"from_timestamp", "fields"} <= inspect.signature(ScoresClient.get_many).parameters.keys()
