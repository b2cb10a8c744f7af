"""docs/architecture.md answers "where is it?" with paths that exist."""

from __future__ import annotations

import re

from docs.handbook.markdown import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_path_of_the_page_exists() -> None:
    """A module that moves takes its answer along."""
    named = set(re.findall(r"`((?:monitor|rules|grafana|tests)/[^`]*)`", PAGE))

    assert 40 < len(named)
    assert [] == sorted(path for path in named if not (ROOT / path).exists())


def test_every_room_is_drawn() -> None:
    """And nothing but the three leaves lies beside the rooms."""
    drawn = PAGE[PAGE.index("```text") : PAGE.index("Pure means")]
    rooms = {path.parent.name for path in (ROOT / "monitor").glob("*/__init__.py")}

    assert set() == {room for room in rooms if not re.search(rf"\b{room}\b", drawn)}
    assert {"__init__.py", "clock.py", "errors.py", "log.py"} == {path.name for path in (ROOT / "monitor").glob("*.py")}
