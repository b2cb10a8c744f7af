"""Metrics and settings that pages name are ones that there are."""

from __future__ import annotations

import re

from docs.handbook.markdown import ROOT, pages
from monitor.config.model import Config
from monitor.config.reference import setting_at
from monitor.evals.gate import Limits as GateLimits
from monitor.metrics.names import METRICS
from monitor.trace.semconv import ATTRIBUTES

_ATTRIBUTES = {row.name for row in ATTRIBUTES} | {"service.instance.id"}
"""Names of OpenTelemetry, some of which begin like a section of the config."""

_LOGGED = {"service.paused", "service.resumed", "traces.assembled"}
"""Events of the log that begin so."""

_GATE = {f"limits.{name}" for name in GateLimits.model_fields}
"""Keys of the file of `cliffwatch report --gate`."""

_FILE = re.compile(r"\.(py|md|json|ya?ml|yml)$")


def test_pages_name_metrics_that_exist() -> None:
    """Every word that looks like a metric of ours is one, a family of them, or a recorded series."""
    names = {metric.name for metric in METRICS} | {"cliffwatch_runbooks", "cliffwatch_grafana"}
    rules = (ROOT / "rules" / "cliffwatch.rules.yml").read_text()
    named = {
        (page.name, word)
        for page in pages()
        if page.name != "CHANGELOG.md"
        for word in re.findall(r"(?<![\w:/.-])cliffwatch_[a-z0-9_]+\b(?!\*)", page.read_text(encoding="utf-8"))
    }

    assert set() == {
        (page, word)
        for page, word in named
        if word not in names and not word.endswith("_") and word not in rules and not _is_part(word, names)
    }


def test_pages_name_settings_that_exist() -> None:
    """Every word in code that begins with a section of the config leads to a key of it."""
    named = {
        (page.name, word)
        for page in pages()
        for word in re.findall(r"`([a-z]+(?:\.[a-z_]+)+)(?=[:`])", page.read_text(encoding="utf-8"))
        if word.partition(".")[0] in Config.model_fields
        and word not in _ATTRIBUTES | _LOGGED | _GATE
        and not _FILE.search(word)
    }

    assert named
    assert set() == {(page, word) for page, word in named if setting_at(Config, tuple(word.split("."))) is None}


def _is_part(word: str, names: set[str]) -> bool:
    """A histogram's series."""
    return any(word == f"{name}{suffix}" for name in names for suffix in ("_bucket", "_sum", "_count"))
