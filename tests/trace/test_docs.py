"""docs/traces.md says what the code does; its blocks are checked with those of every page, in tests/docs."""

from __future__ import annotations

import re
from pathlib import Path

from langfuse import Langfuse

from docs.handbook import attribute_reference
from monitor.trace.model import DropReason, Ignored
from monitor.trace.settings import OutcomeSettings

TEXT = Path("docs/traces.md").read_text(encoding="utf-8")


def test_table_is_the_one_that_is_read() -> None:
    """The table is generated; `python -m docs.handbook.attribute_reference` prints what has to stand there."""
    assert f"do not edit. -->\n\n{attribute_reference.attributes()}\n<!-- End" in TEXT


def test_every_reason_is_listed() -> None:
    """Reasons of dead letters, and of what is left aside, are the ones that are counted."""
    section = TEXT[TEXT.index("## What is refused") :]

    assert {*DropReason, *Ignored} == set(re.findall(r"`(\w+)`", section))


def test_sources_are_listed_in_their_order() -> None:
    """The table of sources has the default order of the settings."""
    section = TEXT[TEXT.index("| source |") :]

    assert OutcomeSettings().sources == tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_langfuse_has_what_the_example_calls() -> None:
    """The client can be given a provider, and its interface lists scores from an instant on."""
    import inspect  # noqa: PLC0415

    from langfuse.api.scores.client import ScoresClient  # noqa: PLC0415

    assert {"tracer_provider", "environment", "release"} <= inspect.signature(Langfuse).parameters.keys()
    assert {"from_timestamp", "fields"} <= inspect.signature(ScoresClient.get_many).parameters.keys()


def test_table_of_libraries_is_the_one_of_the_code() -> None:
    """`python -m docs.handbook.attribute_reference` writes it too."""
    assert attribute_reference.libraries() in TEXT
