"""Templates and what they may use: numbers in the words of the page, and the one style sheet with its hash."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from monitor.ledger.ledger import RolloutRecord
from monitor.output.charts.drawing import CHART_STYLE
from monitor.output.plain import iso_time
from monitor.output.templating import templates_of
from monitor.rollout.cohort import TiersBy
from monitor.rollout.verdict import FailureRate, Interval, Verdict
from monitor.rollout.wording import count, counted, percent

UNKNOWN = "not known"

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0


def when(unix_seconds: float) -> Markup:
    """A moment in UTC, to the minute, that machines can read too."""
    shown = datetime.fromtimestamp(unix_seconds, UTC)
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M}&nbsp;UTC</time>').format(iso_time(unix_seconds), shown)


def duration(seconds: float) -> str:
    """
    A length of time as people say it.

    >>> duration(90.0), duration(7_500.0), duration(260_000.0)
    ('1 minute', '2 hours', '3 days')
    """
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= 0.95 * unit:
            return counted(max(1, round(seconds / unit)), name)
    return "under a minute"


def rate(measured: FailureRate) -> str:
    """A failure rate; `UNKNOWN` without a labelled request."""
    return UNKNOWN if measured.rate is None else percent(measured.rate.estimate)


def bounds(interval: Interval | None) -> str:
    """The bounds of a ratio; empty where it is not known."""
    if interval is None:
        return ""
    return f"{100 * interval.lower:.1f} to {100 * interval.upper:.1f}"


def since(record: RolloutRecord) -> float | None:
    """When the verdict became what it is, Unix seconds; None before the first look."""
    return record.changes[-1][0] if record.changes else None


def has_tiers(verdict: Verdict) -> bool:
    """Whether any request is known to be easy or hard."""
    hard = verdict.hard_tier
    is_seen = hard is not None and hard.baseline.requests + hard.candidate.requests > 0
    return is_seen or verdict.tiers_by is not TiersBy.NONE


def ratio(value: float | None) -> str:
    """A ratio 0 to 1, to the whole per cent; `UNKNOWN` for None."""
    return UNKNOWN if value is None else f"{100 * value:.0f} %"


def decimal(value: float | None, digits: int = 2) -> str:
    """A plain number; `UNKNOWN` for None."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


_STYLE = CHART_STYLE + resources.files(__package__).joinpath("templates", "style.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
}
"""Headers of every page: it may show its own style sheet, and load or run nothing."""


def render(template: str, **values: Any) -> str:
    """The page that *template* makes of *values*."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = templates_of("monitor.web.page", lstrip_blocks=True)
    environment.globals |= {"style": Markup(_STYLE), "has_tiers": has_tiers}  # noqa: S704 - our own file
    shown = (bounds, count, counted, decimal, duration, rate, ratio, since, when)
    environment.filters |= {each.__name__: each for each in shown}
    return environment
