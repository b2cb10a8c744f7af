"""Charts that compare two arms: failure rates with bounds, label coverage, and the hard tier's share of failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from monitor.output.charts.drawing import ALARM, COLOURS, FONT_SIZE, GRID, INK, MUTED, Drawing, shortened, text_width
from monitor.output.charts.scale import Scale, ticks
from monitor.rollout.cohort import ArmName
from monitor.rollout.verdict import Interval
from monitor.rollout.wording import percent, points, signed

_WIDTH = 360.0
_LEFT = 104.0
_RATES_TOP, _RATES_ROW, _RATES_RIGHT = 46.0, 38.0, 286.0
_APART = 7.0
"""Half the distance between the arms of one row."""
_COVERED_TOP, _COVERED_ROW, _COVERED_RIGHT, _COVERED_BAR = 38.0, 36.0, 316.0, 12.0
_SHARES_TOP, _SHARE_BAR, _GAP = 18.0, 24.0, 28.0
_PARTS_TOP, _PARTS_ROW, _PARTS_RIGHT, _PART = 4.0, 26.0, 304.0, 14.0
_SUM = "together"


@dataclass(frozen=True, slots=True)
class RateRow:
    """
    One tier, or all tiers together.

    Attributes:
        baseline: Rate with its bounds, ratio 0 to 1; None if unknown.
        candidate: The same for the candidate.
        limit: Highest acceptable failure rate (or lowest acceptable pass rate); None without one.
    """

    name: str
    baseline: Interval | None
    candidate: Interval | None
    limit: float | None = None


def rates_chart(
    rows: Sequence[RateRow], *, name: str, title: str, baseline: str, candidate: str, limit_name: str = "floor"
) -> Markup:
    """
    A chart of *rows* from top to bottom, each with both arms.

    Args:
        rows: The rates.
        name: ID of the drawing, unique on the page: letters, digits and hyphens.
        title: Title of the chart.
        baseline: Name of the baseline.
        candidate: Name of the candidate.
        limit_name: Name of the limits in the legend.
    """
    known = [rate.upper for row in rows for rate in (row.baseline, row.candidate) if rate is not None]
    marks = ticks(0.0, min(1.0, max([*known, *(row.limit or 0.0 for row in rows), 0.05])), most=4)
    at = Scale(0.0, marks[-1], _LEFT, _RATES_RIGHT)
    has_limit = any(row.limit is not None for row in rows)
    bottom = _RATES_TOP + _RATES_ROW * len(rows)
    description = "; ".join(_described(row, limit_name) for row in rows)
    height = bottom + 24 + (FONT_SIZE + 8) * has_limit
    picture = Drawing(name, title=title, description=f"{description}.", width=_WIDTH, height=height)
    picture.legend(14, baseline, candidate)
    for mark in marks:
        picture.line((at(mark), _RATES_TOP), (at(mark), bottom), stroke=GRID)
        picture.text(at(mark), bottom + 16, f"{100 * mark:g} %", anchor="middle", fill=MUTED)
    for index, row in enumerate(rows):
        _draw_rates(picture, row, _RATES_TOP + _RATES_ROW * (index + 0.5), at)
    if has_limit:
        y = bottom + 16 + FONT_SIZE + 7
        picture.line((_LEFT, y - 9), (_LEFT, y + 1), stroke=ALARM, width=2.5)
        picture.text(_LEFT + 8, y, limit_name, fill=MUTED)
    return picture.svg()


def _draw_rates(picture: Drawing, row: RateRow, y: float, at: Scale) -> None:
    picture.text(0, y + 4, shortened(row.name, _LEFT - 2))
    for arm, rate, line in zip(ArmName, (row.baseline, row.candidate), (y - _APART, y + _APART), strict=True):
        if rate is None:
            picture.text(_LEFT + 6, line + 4, "not known", fill=MUTED, font_size=FONT_SIZE - 2)
            continue
        picture.line((at(rate.lower), line), (at(rate.upper), line), stroke=COLOURS[arm], width=2.5)
        for end in (rate.lower, rate.upper):
            picture.line((at(end), line - 3), (at(end), line + 3), stroke=COLOURS[arm], width=1.5)
        picture.mark(arm, at(rate.estimate), line)
        picture.text(_WIDTH, line + 4, percent(rate.estimate), anchor="end", fill=COLOURS[arm])
    if row.limit is not None:
        x, half = at(row.limit), _RATES_ROW / 2 - 3
        picture.line((x, y - half), (x, y + half), stroke=ALARM, width=2.5)


def _described(row: RateRow, limit_name: str) -> str:
    text = f"{row.name}: baseline {_rate(row.baseline)}, candidate {_rate(row.candidate)}"
    return text if row.limit is None else f"{text}, {limit_name} {percent(row.limit)}"


def _rate(rate: Interval | None) -> str:
    if rate is None:
        return "not known"
    return f"{percent(rate.estimate)} ({percent(rate.lower)} to {percent(rate.upper)})"


def coverage_chart(
    rows: Mapping[str, tuple[float | None, float | None]], *, name: str, title: str, baseline: str, candidate: str
) -> Markup:
    """
    A chart of *rows* from top to bottom, each with a bar per arm.

    Args:
        rows: By tier, the share of mature requests with a label in both arms, ratios 0 to 1; None without a request.
        name: ID of the drawing, unique on the page: letters, digits and hyphens.
        title: Title of the chart.
        baseline: Name of the baseline.
        candidate: Name of the candidate.
    """
    at = Scale(0.0, 1.0, _LEFT, _COVERED_RIGHT)
    text = "; ".join(f"{tier}: baseline {ratio(old)}, candidate {ratio(new)}" for tier, (old, new) in rows.items())
    height = _COVERED_TOP + _COVERED_ROW * len(rows) + 2
    picture = Drawing(name, title=title, description=f"{text}.", width=_WIDTH, height=height)
    picture.legend(14, baseline, candidate)
    hatch = picture.hatch(ArmName.CANDIDATE)
    for index, (tier, arms) in enumerate(rows.items()):
        y = _COVERED_TOP + _COVERED_ROW * (index + 0.5)
        picture.text(0, y + 4, shortened(tier, _LEFT - 2))
        for arm, coverage, top in zip(ArmName, arms, (y - _COVERED_BAR - 1, y + 1), strict=True):
            picture.rect(_LEFT, top, _COVERED_RIGHT - _LEFT, _COVERED_BAR, fill="none", stroke=GRID)
            if coverage is None:
                picture.text(_LEFT + 4, top + 9, "not known", fill=MUTED, font_size=FONT_SIZE - 2)
                continue
            fill = COLOURS[arm] if arm is ArmName.BASELINE else hatch
            picture.rect(_LEFT, top, at(coverage) - _LEFT, _COVERED_BAR, fill=fill, stroke=COLOURS[arm])
            picture.text(_WIDTH, top + 10, ratio(coverage), anchor="end", fill=COLOURS[arm])
    return picture.svg()


def ratio(value: float | None) -> str:
    """A ratio from 0 to 1 as a whole percentage; `not known` for None."""
    return "not known" if value is None else f"{100 * value:.0f} %"


def share_chart(
    *,
    name: str,
    title: str,
    baseline: Interval,
    candidate: Interval,
    expected_change: float,
    baseline_name: str,
    candidate_name: str,
) -> Markup:
    """
    A bar of all failures for each arm with the hard tier's share hatched, and the share after a uniform gain.

    Args:
        name: ID of the drawing, unique on the page: letters, digits and hyphens.
        title: Title of the chart.
        baseline: The hard tier's share of the baseline's failures, ratio 0 to 1.
        candidate: The same for the candidate, at the same traffic mix.
        expected_change: The change that a uniform gain would give.
        baseline_name: Name of the baseline.
        candidate_name: Name of the candidate.
    """
    at = Scale(0.0, 1.0, 1.0, _WIDTH - 1.0)
    expected = min(max(baseline.estimate + expected_change, 0.0), 1.0)
    description = (
        f"Hard tier's share of failures: baseline {percent(baseline.estimate)}, candidate {percent(candidate.estimate)}"
        f"; a uniform gain would give {percent(expected)}, so {points(candidate.estimate - expected)} are beyond it."
    )
    second = _SHARES_TOP + _SHARE_BAR + _GAP
    picture = Drawing(name, title=title, description=description, width=_WIDTH, height=second + _SHARE_BAR + 48)
    shares, names = (baseline, candidate), (baseline_name, candidate_name)
    for arm, share, label, y in zip(ArmName, shares, names, (_SHARES_TOP, second), strict=True):
        picture.text(0, y - 5, shortened(f"{arm.value}: {label}", _WIDTH - 110))
        picture.text(_WIDTH, y - 5, f"{percent(share.estimate)} hard", anchor="end", fill=COLOURS[arm])
        picture.rect(at(0), y, at(1) - at(0), _SHARE_BAR, fill="none", stroke=GRID)
        picture.rect(at(0), y, at(share.estimate) - at(0), _SHARE_BAR, fill=picture.hatch(arm), stroke=COLOURS[arm])
        middle = y + _SHARE_BAR / 2
        picture.line((at(share.lower), middle), (at(share.upper), middle), stroke=INK, width=1.5)
        for end in (share.lower, share.upper):
            picture.line((at(end), middle - 4), (at(end), middle + 4), stroke=INK, width=1.5)
    _mark_expected(picture, at, second + _SHARE_BAR, expected, candidate.estimate)
    return picture.svg()


def _mark_expected(picture: Drawing, at: Scale, bottom: float, expected: float, reached: float) -> None:
    """Mark the share after a uniform gain, and the distance from there to the candidate's share."""
    x, end = at(expected), at(reached)
    picture.line((x, bottom - _SHARE_BAR - 3), (x, bottom + 12), stroke=ALARM, width=2.0, dashes="4 2")
    picture.line((x, bottom + 8), (end, bottom + 8), stroke=ALARM, width=2.0)
    picture.line((end, bottom + 4), (end, bottom + 12), stroke=ALARM, width=2.0)
    label = f"uniform gain {percent(expected)}, excess {points(reached - expected)}"
    if max(x, end) > _WIDTH / 2:
        anchor, place = "end", max(x, end, text_width(label))
    else:
        anchor, place = "start", min(x, end, _WIDTH - text_width(label))
    picture.text(place, bottom + 26, label, anchor=anchor, fill=ALARM)
    picture.text(0, bottom + 26 + FONT_SIZE + 4, "hatched: hard tier; the rest: easier tiers", fill=MUTED)


def parts_chart(parts: Mapping[str, float], *, name: str, title: str) -> Markup:
    """
    *parts* from top to bottom, and their sum below.

    Args:
        parts: What adds up, by name; differences of ratios.
        name: Letters, digits and hyphens; unlike any other drawing's on the page.
        title: What the change is of.
    """
    rows = [*parts.items(), (_SUM, sum(parts.values()))]
    changes = [change for _, change in rows]
    marks = ticks(min(0.0, *changes), max(0.01, *changes), most=4)
    at = Scale(marks[0], marks[-1], _LEFT, _PARTS_RIGHT)
    bottom = _PARTS_TOP + _PARTS_ROW * len(rows)
    description = ", ".join(f"{part} {points(change)}" for part, change in rows)
    picture = Drawing(name, title=title, description=f"{description}.", width=_WIDTH, height=bottom + 22)
    for mark in marks:
        picture.line((at(mark), _PARTS_TOP), (at(mark), bottom), stroke=INK if mark == 0 else GRID)
        picture.text(at(mark), bottom + 16, f"{100 * mark:+g}" if mark else "0", anchor="middle", fill=MUTED)
    hatch = picture.hatch(ArmName.CANDIDATE)
    for index, (part, change) in enumerate(rows):
        y, is_sum = _PARTS_TOP + _PARTS_ROW * (index + 0.5), index == len(parts)
        start, end = sorted((at(0.0), at(change)))
        fill, weight = (COLOURS[ArmName.CANDIDATE], "bold") if is_sum else (hatch, None)
        picture.rect(start, y - _PART / 2, max(end - start, 0.8), _PART, fill=fill, stroke=COLOURS[ArmName.CANDIDATE])
        picture.text(0, y + 4, shortened(part, _LEFT - 2), font_weight=weight)
        picture.text(_WIDTH, y + 4, signed(change), anchor="end", font_weight=weight)
    return picture.svg()
