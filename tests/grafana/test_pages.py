from __future__ import annotations

from pathlib import Path

import pytest

from grafana.dashboards import DASHBOARDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = DOCS / "dashboards"
_LARGEST_PICTURE_BYTES = 200_000


def test_every_dashboard_has_a_page() -> None:
    """The folder holds one page per dashboard, and the list of them."""
    assert {"README", *DASHBOARDS} == {path.stem for path in PAGES.iterdir()}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_page_shows_its_dashboard_and_says_what_drew_it(name: str) -> None:
    """The picture is there, small enough to look at, and called what it is."""
    text = (PAGES / f"{name}.md").read_text()

    assert f"](../images/dashboards/{name}.png)" in text
    assert "Grafana's components, not Grafana" in text
    assert 0 < (DOCS / "images" / "dashboards" / f"{name}.png").stat().st_size < _LARGEST_PICTURE_BYTES


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_first_hour_leads_through_every_dashboard(name: str) -> None:
    """The walk links each dashboard and the page that says how to read it."""
    text = (DOCS / "first-hour.md").read_text()

    assert f"/d/cliffwatch-{name})" in text
    assert f"](dashboards/{name}.md)" in text
