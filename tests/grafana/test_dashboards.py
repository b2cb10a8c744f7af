from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from grafana.dashboards import DASHBOARDS, FOLDER, render
from monitor.metrics.names import METRICS, MetricKind
from tests.grafana.queries import expressions, filled_in, panels, shipped
from tests.programs import required_program
from tests.rules.conftest import RULES

_NAME = re.compile(r"[a-z_]+:cliffwatch_\w+:\w+|(?<![:\w])cliffwatch_\w+")
_ANY = {
    **dict.fromkeys(("service", "environment", "baseline", "candidate", "capability", "unit"), "model-1.5 (a.b)"),
    "__rate_interval": "5m",
}

each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def _exported() -> set[str]:
    suffixes = ("_bucket", "_sum", "_count")
    return {
        metric.name + suffix
        for metric in METRICS
        for suffix in (suffixes if metric.kind is MetricKind.HISTOGRAM else ("",))
    }


def _recorded() -> set[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


@each_dashboard
def test_the_shipped_file_is_what_the_module_makes(name: str) -> None:
    """A dashboard is changed in grafana/dashboards.py and written with `make generate`."""
    assert render(DASHBOARDS[name]()) == (FOLDER / f"{name}.json").read_text()


def test_no_file_ships_without_its_builder() -> None:
    """The folder holds the dashboards of the module and nothing else."""
    assert {f"{name}.json" for name in DASHBOARDS} == {path.name for path in FOLDER.iterdir()}


@each_dashboard
def test_its_address_is_stable(name: str) -> None:
    """Alerts link to it by a uid that is its name, and no database id is shipped."""
    document = shipped(name)

    assert (f"cliffwatch-{name}", None) == (document["uid"], document["id"])


@each_dashboard
def test_every_panel_explains_itself(name: str) -> None:
    """Title, description, unit, minimum interval, a text for the quiet state and a data source that can be chosen."""
    for panel in panels(name):
        defaults = panel["fieldConfig"]["defaults"]

        assert {"type": "prometheus", "uid": "${datasource}"} == panel["datasource"], panel["title"]
        assert [] == [key for key in ("title", "description", "interval") if not panel.get(key)], panel["title"]
        assert [] == [key for key in ("unit", "noValue") if not defaults.get(key)], panel["title"]


@each_dashboard
def test_an_empty_panel_says_what_it_lacks(name: str) -> None:
    """Where tiers are needed, the text says so: without references most panels would be empty without a reason."""
    for panel in panels(name):
        reads = " ".join(target["expr"] for target in panel["targets"])
        text = panel["fieldConfig"]["defaults"]["noValue"]

        assert " " in text, panel["title"]
        if re.search(r"hard_|_hard|calibration_|_failure_(ratio|change):max\{[^}]*tier=", reads):
            assert re.search(r"tiers|calibration|hard-tier failure", text), panel["title"]


@pytest.mark.parametrize(("name", "titles"), [("rollout", ["Failure rate by class"]), ("canary", ["All requests"])])
def test_coarse_rungs_come_before_tiers(name: str, titles: list[str]) -> None:
    """All requests and classes need nothing but labels, so they are what a newcomer sees first."""
    order = [panel["title"] for panel in panels(name)]
    first_tier = next(title for title in order if title in ("Failure rate, hard tier", "Easy requests"))

    assert all(order.index(title) < order.index(first_tier) for title in titles)


@each_dashboard
def test_titles_are_distinguished(name: str) -> None:
    """No two panels have the same title."""
    titles = [panel["title"] for panel in panels(name)]

    assert sorted(set(titles)) == sorted(titles)


@each_dashboard
def test_every_metric_of_a_panel_exists(name: str) -> None:
    """A query names only exported metrics and recorded series."""
    named = {metric for expression in expressions(name) for metric in _NAME.findall(expression)}

    assert named
    assert set() == named - _exported() - _recorded()


@pytest.mark.stack
@each_dashboard
def test_every_query_is_promql(name: str, tmp_path: Path) -> None:
    """Prometheus can parse every panel's query once the variables are filled in."""
    program = required_program("promtool")
    queries = [filled_in(target["expr"], _ANY) for panel in panels(name) for target in panel["targets"]]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": name, "rules": rules}]}))

    done = subprocess.run([program, "check", "rules", file], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


@each_dashboard
def test_rows_are_full_and_panels_do_not_overlap(name: str) -> None:
    """Panels lie on the grid of 24 columns, none over another."""
    cells = [
        (x, y)
        for panel in shipped(name)["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert 24 == max(x for x, _ in cells) + 1
    assert len(cells) == len(set(cells))
