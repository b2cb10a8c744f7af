"""
Prepares the data of the pages: the order of rollouts and recent changes for the overview; charts, floors and the
forecast for one rollout.

At the end, the templates with their filters, which format numbers, and the style sheet with its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from monitor.difficulty.tiers import TIERS
from monitor.ledger.ledger import CounterName, RolloutRecord
from monitor.metrics.snapshot import Snapshot
from monitor.output.charts.comparisons import RateRow, ratio
from monitor.output.charts.drawing import CHART_STYLE
from monitor.output.charts.evidence import evidence_chart
from monitor.output.plain import iso_time
from monitor.output.rollouts import story, urgency
from monitor.output.templating import templates_of
from monitor.rollout.cohort import TiersBy
from monitor.rollout.evidence import Evidence
from monitor.rollout.floors import CommittedFloor, pass_rate_of
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import FailureRate, Interval, TierComparison, Verdict, VerdictState
from monitor.rollout.wording import TAGS_CORRECTED, count, counted, percent

UNKNOWN = "not known"

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0
_ALARMS = (VerdictState.REGRESSION, VerdictState.CLIFF)
_RECENT_SECONDS = 6 * _HOUR
_TABLE_LOOKS = 12
_HARD = "hard + frontier"


def under_way(snapshot: Snapshot) -> Sequence[RolloutRecord]:
    """Rollouts under way, the worst first: by verdict, then by the proven rise of the failure rate, then the latest."""
    records = [record for record in snapshot.rollouts if record.rollout.is_under_way]
    return sorted(records, key=lambda record: (urgency(record), -_proven_rise(record), -record.rollout.started_at))


def _proven_rise(record: RolloutRecord) -> float:
    """Greatest lower bound of a rise of a failure rate; 0 if there is none, negative if no rise is proven."""
    if record.verdict is None or not record.verdict.scope:
        return 0.0
    compared = (record.verdict.aggregate, record.verdict.easier_tiers, record.verdict.hard_tier)
    return max((c.change.lower for c in compared if c is not None and c.change is not None), default=0.0)


def ended(snapshot: Snapshot) -> Sequence[RolloutRecord]:
    """Rollouts that have ended, the latest first."""
    records = [record for record in snapshot.rollouts if not record.rollout.is_under_way]
    return sorted(records, key=lambda record: -(record.rollout.ended_at or 0.0))


def alarms(records: Sequence[RolloutRecord]) -> Sequence[RolloutRecord]:
    """Those of *records* that raise an alert."""
    return [
        record
        for record in records
        if record.state in _ALARMS or (record.verdict is not None and record.verdict.regressed_capabilities)
    ]


def since_yesterday(snapshot: Snapshot) -> Sequence[tuple[float, str, RolloutRecord]]:
    """Events of the last 24 hours with their time (Unix seconds), text and rollout, the latest first."""
    events = [
        (at, text, record)
        for record in snapshot.rollouts
        for at, text in reversed(story(record, snapshot.rollouts))
        if snapshot.now - _DAY <= at <= snapshot.now
    ]
    return sorted(events, key=lambda event: -event[0])


def dead_letters(snapshot: Snapshot) -> Sequence[tuple[str, int]]:
    """Records that could not be read, by reason, the most frequent first."""
    letters = {
        key.detail: value
        for key, value in snapshot.counters.items()
        if key.name is CounterName.DEAD_LETTERS and value > 0
    }
    return sorted(letters.items(), key=lambda letter: (-letter[1], letter[0]))


def comparisons(verdict: Verdict) -> Sequence[tuple[str, TierComparison]]:
    """Rows of the comparison: every tier, the hard tiers together, and all requests; without tiers only the last."""
    if not has_tiers(verdict):
        return [("all", verdict.aggregate)]
    rows: dict[str, TierComparison] = {tier.value: verdict.tiers[tier] for tier in TIERS if tier in verdict.tiers}
    rows |= {} if verdict.hard_tier is None else {_HARD: verdict.hard_tier}
    return [*rows.items(), ("all", verdict.aggregate)]


def floors(record: RolloutRecord) -> Sequence[tuple[CommittedFloor, Interval | None, str]]:
    """
    The floors of *record*, each with the candidate's hard-tier pass rate and its state.

    The rate is a ratio from 0 to 1 with bounds, None if unknown. The state says whether the bounds lie above the floor,
    below it, or around it; a rate without a verdict is shown, but not judged.
    """
    verdict = record.verdict
    if verdict is None or verdict.hard_tier is None:
        return [(committed, None, "not known") for committed in record.floors]
    broken = "broken" if verdict.state is VerdictState.REGRESSION else "below it, not judged"
    rows = []
    for committed in record.floors:
        floor, rate = committed.floor.pass_rate, pass_rate_of(committed.floor, verdict)
        unbroken = "held" if rate is not None and rate.lower >= floor else "not shown"
        state = "not known" if rate is None else broken if rate.upper < floor else unbroken
        rows.append((committed, rate, state))
    return rows


def forecast(record: RolloutRecord, evidence: Sequence[Evidence]) -> str:
    """How many more labels are needed, and how long they take at the current rate; empty if none are needed."""
    verdict = record.verdict
    if verdict is None or not verdict.requests_needed or not record.rollout.is_under_way:
        return ""
    needed = f"{counted(verdict.requests_needed, 'more labelled request')} of the candidate"
    per_second = labels_per_second(evidence)
    if per_second is None:
        return f"{needed}."
    if per_second == 0:
        return f"{needed}, and none arrived recently: check whether outcomes still arrive."
    return f"{needed}, about {duration(verdict.requests_needed / per_second)} at the current rate."


def labels_per_second(evidence: Sequence[Evidence]) -> float | None:
    """Labelled candidate requests per second over the last hours of evidence; None with fewer than two looks."""
    if not evidence:
        return None
    last = evidence[-1]
    recent = [look for look in evidence if look.at >= last.at - _RECENT_SECONDS]
    first = recent[0] if len(recent) > 1 else evidence[max(0, len(evidence) - 2)]
    return None if last.at <= first.at else max(0, last.labelled - first.labelled) / (last.at - first.at)


def listed(evidence: Sequence[Evidence]) -> Sequence[Evidence]:
    """About a dozen looks, evenly spread, and every look at which the verdict changed."""
    every = max(1, len(evidence) // _TABLE_LOOKS)
    changed = {later.at for earlier, later in pairwise(evidence) if earlier.state != later.state}
    last = len(evidence) - 1
    return [look for index, look in enumerate(evidence) if index % every == 0 or index == last or look.at in changed]


def rate_rows(record: RolloutRecord, compared: Sequence[tuple[str, TierComparison]]) -> Sequence[RateRow]:
    """The rows of the chart of failure rates, with the floor if there is one."""
    floor = next((committed.floor for committed in record.floors if committed.floor.capability is None), None)
    limits = {} if floor is None else {_HARD: 1.0 - floor.pass_rate}
    return [RateRow(name, rates.baseline.rate, rates.candidate.rate, limits.get(name)) for name, rates in compared]


def evidence_pictures(
    record: RolloutRecord, evidence: Sequence[Evidence], policy: Policy
) -> Sequence[tuple[str, Markup]]:
    """Charts over time of the excess, the change of the share and the change of the hard tier's rate, with captions."""
    series = (
        ("excess", "Excess over a uniform gain", 0.0, "left behind, once the band is above"),
        ("share_change", "Change of the hard tier's share", policy.share_jump, "jump that matters"),
        ("hard_change", "Change of the hard tier's rate", 0.0, "regression, once the band is above"),
    )
    pictures = []
    for name, caption, threshold, threshold_name in series:
        known = [(look.at, value) for look in evidence if (value := getattr(look, name)) is not None]
        if known:
            svg = evidence_chart(
                known,
                name=f"evidence-{name.replace('_', '-')}",
                title=f"{caption}, in points, over time",
                threshold=threshold,
                threshold_name=threshold_name,
                changes=record.changes,
            )
            pictures.append((caption, svg))
    return pictures


def when(unix_seconds: float) -> Markup:
    """A time in UTC, to the minute, as an HTML time element."""
    shown = datetime.fromtimestamp(unix_seconds, UTC)
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M}&nbsp;UTC</time>').format(iso_time(unix_seconds), shown)


def duration(seconds: float) -> str:
    """
    A duration in words.

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
    """The bounds of a ratio in percent; empty if it is not known."""
    return "" if interval is None else f"{100 * interval.lower:.1f} to {100 * interval.upper:.1f}"


def since(record: RolloutRecord) -> float | None:
    """When the verdict last changed, Unix seconds; None before the first look."""
    return record.changes[-1][0] if record.changes else None


def has_tiers(verdict: Verdict) -> bool:
    """Whether any request is known to be easy or hard."""
    hard = verdict.hard_tier
    is_seen = hard is not None and hard.baseline.requests + hard.candidate.requests > 0
    return is_seen or verdict.tiers_by is not TiersBy.NONE


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
"""Headers of every page: the policy allows its own style sheet, and nothing else."""


def render(template: str, **values: Any) -> str:
    """Render the page *template* with *values*."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = templates_of("monitor.web.page", lstrip_blocks=True)
    style = Markup(_STYLE)  # noqa: S704 - our own file
    environment.globals |= {"style": style, "has_tiers": has_tiers, "tags_corrected": TAGS_CORRECTED}
    shown = (bounds, count, counted, decimal, duration, rate, ratio, since, when)
    environment.filters |= {each.__name__: each for each in shown}
    return environment
