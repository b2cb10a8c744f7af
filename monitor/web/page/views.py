"""
What the pages show beside the numbers of a rollout.

The overview: the worst rollout first, what changed since yesterday, how the monitor fares. One rollout: pictures,
floors, and how long the answer still takes.

Last, the templates and what they may use: numbers in the words of the page, and the one style sheet with its hash.
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
    """Rollouts that are watched, the worst first: by verdict, by the rise that is shown, the latest first."""
    watched = [record for record in snapshot.rollouts if record.rollout.is_under_way]
    return sorted(watched, key=lambda record: (urgency(record), -_shown_rise(record), -record.rollout.started_at))


def _shown_rise(record: RolloutRecord) -> float:
    """The largest rise of a failure rate that is shown, with tiers or without; 0 where none is."""
    if record.verdict is None or not record.verdict.scope:
        return 0.0
    compared = (record.verdict.aggregate, record.verdict.easier_tiers, record.verdict.hard_tier)
    return max((each.change.lower for each in compared if each is not None and each.change is not None), default=0.0)


def ended(snapshot: Snapshot) -> Sequence[RolloutRecord]:
    """Rollouts that are not watched any more, the latest first."""
    over = [record for record in snapshot.rollouts if not record.rollout.is_under_way]
    return sorted(over, key=lambda record: -(record.rollout.ended_at or 0.0))


def alarms(records: Sequence[RolloutRecord]) -> Sequence[RolloutRecord]:
    """Those of *records* that raise an alert."""
    return [
        record
        for record in records
        if record.state in _ALARMS or (record.verdict is not None and record.verdict.regressed_capabilities)
    ]


def since_yesterday(snapshot: Snapshot) -> Sequence[tuple[float, str, RolloutRecord]]:
    """When (Unix seconds), what and to which rollout, in the last 24 hours before the snapshot, the latest first."""
    told = [
        (at, what, record)
        for record in snapshot.rollouts
        for at, what in reversed(story(record, snapshot.rollouts))
        if snapshot.now - _DAY <= at <= snapshot.now
    ]
    return sorted(told, key=lambda each: -each[0])


def dead_letters(snapshot: Snapshot) -> Sequence[tuple[str, int]]:
    """Records that could not be read, by reason, the most frequent first."""
    letters = {
        key.detail: value
        for key, value in snapshot.counters.items()
        if key.name is CounterName.DEAD_LETTERS and value > 0
    }
    return sorted(letters.items(), key=lambda letter: (-letter[1], letter[0]))


def comparisons(verdict: Verdict) -> Sequence[tuple[str, TierComparison]]:
    """Every tier, the hard ones together, and all requests, by the name of their row; the last alone without tiers."""
    if not has_tiers(verdict):
        return [("all", verdict.aggregate)]
    rows: dict[str, TierComparison] = {tier.value: verdict.tiers[tier] for tier in TIERS if tier in verdict.tiers}
    rows |= {} if verdict.hard_tier is None else {_HARD: verdict.hard_tier}
    return [*rows.items(), ("all", verdict.aggregate)]


def floors(record: RolloutRecord) -> Sequence[tuple[CommittedFloor, Interval | None, str]]:
    """
    The floors that *record* is held to.

    Each with the candidate's hard-tier pass rate (ratio 0 to 1, with bounds; None while it is not known), and whether
    the bounds lie above the floor, below it, or around it. A rate that no verdict rests on is shown, but not judged.
    """
    verdict = record.verdict
    if verdict is None or verdict.hard_tier is None:
        return [(committed, None, "not known") for committed in record.floors]
    broken = "broken" if verdict.state is VerdictState.REGRESSION else "below it, not judged"
    found = []
    for committed in record.floors:
        floor, known = committed.floor.pass_rate, pass_rate_of(committed.floor, verdict)
        held = "held" if known is not None and known.lower >= floor else "not shown"
        state = "not known" if known is None else broken if known.upper < floor else held
        found.append((committed, known, state))
    return found


def forecast(record: RolloutRecord, evidence: Sequence[Evidence]) -> str:
    """What is still needed and how long that takes as labels come now; empty where nothing is."""
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
    """Labelled candidate requests per second over the last hours that were looked at; None after one look only."""
    if not evidence:
        return None
    last = evidence[-1]
    recent = [found for found in evidence if found.at >= last.at - _RECENT_SECONDS]
    first = recent[0] if len(recent) > 1 else evidence[max(0, len(evidence) - 2)]
    return None if last.at <= first.at else max(0, last.labelled - first.labelled) / (last.at - first.at)


def listed(evidence: Sequence[Evidence]) -> Sequence[Evidence]:
    """A dozen reviews, evenly spread, and every review at which the verdict changed."""
    every = max(1, len(evidence) // _TABLE_LOOKS)
    changed = {later.at for earlier, later in pairwise(evidence) if earlier.state != later.state}
    last = len(evidence) - 1
    return [found for index, found in enumerate(evidence) if index % every == 0 or index == last or found.at in changed]


def rate_rows(record: RolloutRecord, compared: Sequence[tuple[str, TierComparison]]) -> Sequence[RateRow]:
    """The rows of the chart of failure rates, with the floor where there is one."""
    floor = next((each.floor for each in record.floors if each.floor.capability is None), None)
    limits = {} if floor is None else {_HARD: 1.0 - floor.pass_rate}
    return [RateRow(name, each.baseline.rate, each.candidate.rate, limits.get(name)) for name, each in compared]


def evidence_pictures(
    record: RolloutRecord, evidence: Sequence[Evidence], policy: Policy
) -> Sequence[tuple[str, Markup]]:
    """Excess, change of the share and change of the hard tier's rate over time, each with its caption."""
    series = (
        ("excess", "Excess over a uniform gain", 0.0, "left behind, once the band is above"),
        ("share_change", "Change of the hard tier's share", policy.share_jump, "jump that matters"),
        ("hard_change", "Change of the hard tier's rate", 0.0, "regression, once the band is above"),
    )
    pictures = []
    for name, caption, threshold, threshold_name in series:
        known = [(each.at, value) for each in evidence if (value := getattr(each, name)) is not None]
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
    return "" if interval is None else f"{100 * interval.lower:.1f} to {100 * interval.upper:.1f}"


def since(record: RolloutRecord) -> float | None:
    """When the verdict became what it is, Unix seconds; None before the first look."""
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
"""Headers of every page: it may show its own style sheet, and load or run nothing."""


def render(template: str, **values: Any) -> str:
    """The page that *template* makes of *values*."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = templates_of("monitor.web.page", lstrip_blocks=True)
    style = Markup(_STYLE)  # noqa: S704 - our own file
    environment.globals |= {"style": style, "has_tiers": has_tiers, "tags_corrected": TAGS_CORRECTED}
    shown = (bounds, count, counted, decimal, duration, rate, ratio, since, when)
    environment.filters |= {each.__name__: each for each in shown}
    return environment
