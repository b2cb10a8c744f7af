from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.dashboards import DASHBOARDS
from tests.grafana.queries import shipped
from tests.rules.conftest import RULES

DOCS = RULES.parents[1] / "docs"
RUNBOOKS = DOCS / "runbooks"
_BESIDES = {"README.md", "template.md", "capability-classes.md", "class-template.md"}
_NO_PANELS = {"Status > Targets", "Candidate"}  # a page of Prometheus, a variable
_HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
_DASHBOARD = re.compile(r"http://localhost:3000/d/cliffwatch-([\w-]+)")
_SHOWS_A_NUMBER = re.compile(r"\$value|\| value|\.Value")


def _alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


ALERTS = _alerts()
each_alert = pytest.mark.parametrize("alert", ALERTS)
each_page = pytest.mark.parametrize(
    "page", [*sorted(RUNBOOKS.iterdir()), DOCS / "alerts.md", DOCS / "first-hour.md"], ids=lambda page: page.stem
)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """Both ways, so that neither outlives the other."""
    assert {f"{alert}.md" for alert in ALERTS} == {path.name for path in RUNBOOKS.iterdir()} - _BESIDES


@each_alert
def test_a_runbook_keeps_to_the_template(alert: str) -> None:
    """Its name, the five parts in their order, and the labels that route the alert."""
    text = (RUNBOOKS / f"{alert}.md").read_text()
    _, *parts = _HEADING.findall((RUNBOOKS / "template.md").read_text())
    labels = ALERTS[alert]["labels"]

    assert [f"# {alert}", *parts] == _HEADING.findall(text)
    assert f"Severity: {labels['severity']}, signature `{labels['signature']}`." in text


@each_alert
def test_an_alert_links_to_its_runbook_and_to_a_dashboard(alert: str) -> None:
    """The links that a person follows at night lead to a page and to a uid that exist."""
    annotations = ALERTS[alert]["annotations"]
    uid = re.search(r"/d/([\w-]+)", annotations["dashboard_url"])

    assert f"/{alert}.md" in annotations["runbook_url"]
    assert uid is not None
    assert uid[1] in {shipped(name)["uid"] for name in DASHBOARDS}


@each_alert
def test_a_description_names_numbers(alert: str) -> None:
    """A description says what was measured; an alias alone has nothing to measure."""
    names_numbers = bool(_SHOWS_A_NUMBER.search(ALERTS[alert]["annotations"]["description"]))

    assert (alert != "FloatingModelAlias") == names_numbers


@each_page
def test_links_to_dashboards_resolve(page: Path) -> None:
    """To dashboards that are shipped."""
    assert [] == [name for name in _DASHBOARD.findall(page.read_text()) if name not in DASHBOARDS]


@each_page
def test_panels_that_a_page_names_exist(page: Path) -> None:
    """*Title* in a page is a panel or a row of some dashboard."""
    titles = {panel["title"] for name in DASHBOARDS for panel in shipped(name)["panels"]} | _NO_PANELS
    named = set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", page.read_text())) - {"Title"}

    assert set() == named - titles


@pytest.mark.parametrize("index", [DOCS / "alerts.md", RUNBOOKS / "README.md"], ids=["alerts", "runbooks"])
def test_the_index_lists_every_alert_with_its_severity(index: Path) -> None:
    """Name, severity and, in docs/alerts.md, signature."""
    rows = {
        match[1]: match[2]
        for match in re.finditer(r"^\| \[(\w+)\]\([^)]+\) \| (\w+) \|", index.read_text(), re.MULTILINE)
    }

    assert {alert: rule["labels"]["severity"] for alert, rule in ALERTS.items()} == rows


def test_the_table_of_alerts_names_every_signature() -> None:
    """Routes are written from this table."""
    text = (DOCS / "alerts.md").read_text()

    assert [] == [
        alert
        for alert, rule in ALERTS.items()
        if not re.search(rf"^\| \[{alert}\].* \| `{rule['labels']['signature']}` \|", text, re.MULTILINE)
    ]
