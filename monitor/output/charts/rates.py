"""Failure rates with their bounds, and how much is labelled, before and after, tier by tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from monitor.output.charts.drawing import ALARM, FONT_SIZE, GRID, MUTED, Arm, Drawing, shortened
from monitor.output.charts.scale import Scale, ticks
from monitor.rollout.verdict import Interval
from monitor.rollout.wording import percent

_WIDTH = 360.0
_LEFT, _RIGHT = 104.0, 286.0
_TOP, _ROW = 46.0, 38.0
_APART = 7.0
"""Half the distance between the arms of one row."""
_BARS_RIGHT, _COVERED_TOP, _COVERED_ROW, _BAR = 316.0, 38.0, 36.0, 12.0


@dataclass(frozen=True, slots=True)
class RateRow:
    """
    One tier, or all of them together.

    Attributes:
        baseline: Rate with its bounds, ratio 0 to 1; None where it is not known.
        candidate: The same of the candidate.
        limit: A rate agreed on as the worst (or, of pass rates, the least) that is acceptable; None without one.
    """

    name: str
    baseline: Interval | None
    candidate: Interval | None
    limit: float | None = None


def rates_chart(
    rows: Sequence[RateRow], *, name: str, title: str, baseline: str, candidate: str, limit_name: str = "floor"
) -> Markup:
    """
    *rows* from top to bottom, each with both arms.

    Args:
        rows: What is drawn.
        name: Letters, digits and hyphens; unlike any other drawing's on the page.
        title: What the rates are of.
        baseline: Name of the baseline.
        candidate: Name of the candidate.
        limit_name: What the dashed mark of a row's limit is called.
    """
    known = [rate.upper for row in rows for rate in (row.baseline, row.candidate) if rate is not None]
    marks = ticks(0.0, min(1.0, max([*known, *(row.limit or 0.0 for row in rows), 0.05])), most=4)
    at = Scale(0.0, marks[-1], _LEFT, _RIGHT)
    has_limit = any(row.limit is not None for row in rows)
    bottom = _TOP + _ROW * len(rows)
    description = "; ".join(_described(row, limit_name) for row in rows)
    height = bottom + 24 + (FONT_SIZE + 8) * has_limit
    picture = Drawing(name, title=title, description=f"{description}.", width=_WIDTH, height=height)
    picture.legend(14, baseline, candidate)
    for mark in marks:
        picture.line((at(mark), _TOP), (at(mark), bottom), stroke=GRID)
        picture.text(at(mark), bottom + 16, f"{100 * mark:g} %", anchor="middle", fill=MUTED)
    for index, row in enumerate(rows):
        _draw(picture, row, _TOP + _ROW * (index + 0.5), at)
    if has_limit:
        y = bottom + 16 + FONT_SIZE + 7
        picture.line((_LEFT, y - 9), (_LEFT, y + 1), stroke=ALARM, width=2.5)
        picture.text(_LEFT + 8, y, limit_name, fill=MUTED)
    return picture.svg()


def _draw(picture: Drawing, row: RateRow, y: float, at: Scale) -> None:
    picture.text(0, y + 4, shortened(row.name, _LEFT - 2))
    for arm, rate, line in zip(Arm, (row.baseline, row.candidate), (y - _APART, y + _APART), strict=True):
        if rate is None:
            picture.text(_LEFT + 6, line + 4, "not known", fill=MUTED, size=FONT_SIZE - 2)
            continue
        picture.line((at(rate.lower), line), (at(rate.upper), line), stroke=arm.colour, width=2.5)
        for end in (rate.lower, rate.upper):
            picture.line((at(end), line - 3), (at(end), line + 3), stroke=arm.colour, width=1.5)
        picture.mark(arm, at(rate.estimate), line)
        picture.text(_WIDTH, line + 4, percent(rate.estimate), anchor="end", fill=arm.colour)
    if row.limit is not None:
        picture.line((at(row.limit), y - _ROW / 2 + 3), (at(row.limit), y + _ROW / 2 - 3), stroke=ALARM, width=2.5)


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
    *rows* from top to bottom, each with a bar per arm.

    Args:
        rows: By name of the tier, labelled per matured request of both arms, ratios 0 to 1; None without a request.
        name: Letters, digits and hyphens; unlike any other drawing's on the page.
        title: What the picture is of.
        baseline: Name of the baseline.
        candidate: Name of the candidate.
    """
    at = Scale(0.0, 1.0, _LEFT, _BARS_RIGHT)
    text = "; ".join(
        f"{tier}: baseline {_covered(old)}, candidate {_covered(new)}" for tier, (old, new) in rows.items()
    )
    picture = Drawing(
        name, title=title, description=f"{text}.", width=_WIDTH, height=_COVERED_TOP + _COVERED_ROW * len(rows) + 2
    )
    picture.legend(14, baseline, candidate)
    hatch = picture.hatch(Arm.CANDIDATE)
    for index, (tier, arms) in enumerate(rows.items()):
        y = _COVERED_TOP + _COVERED_ROW * (index + 0.5)
        picture.text(0, y + 4, shortened(tier, _LEFT - 2))
        for arm, coverage, top in zip(Arm, arms, (y - _BAR - 1, y + 1), strict=True):
            picture.rect(_LEFT, top, _BARS_RIGHT - _LEFT, _BAR, fill="none", stroke=GRID)
            if coverage is None:
                picture.text(_LEFT + 4, top + 9, "not known", fill=MUTED, size=FONT_SIZE - 2)
                continue
            fill = arm.colour if arm is Arm.BASELINE else hatch
            picture.rect(_LEFT, top, at(coverage) - _LEFT, _BAR, fill=fill, stroke=arm.colour)
            picture.text(_WIDTH, top + 10, _covered(coverage), anchor="end", fill=arm.colour)
    return picture.svg()


def _covered(coverage: float | None) -> str:
    return "not known" if coverage is None else f"{100 * coverage:.0f} %"
