"""Evidence over time: an estimate with the band that holds it, the line that decides, and when the verdict changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from monitor.output.charts.drawing import FONT_SIZE, Arm, Drawing, path_of, shortened, text_width
from monitor.output.charts.palette import ALARM, GRID, INK, MUTED
from monitor.output.charts.scale import Scale, span, ticks, time_ticks
from monitor.rollout.verdict import Interval
from monitor.rollout.wording import points, with_bounds

_WIDTH = 360.0
_LEFT, _RIGHT = 44.0, 352.0
_TOP, _PLOT = 38.0, 140.0
_FIRST_IN_VIEW = 0.2
"""The part of the points, the first ones, whose bounds may be cut off: they are so wide that all else would be flat."""


@dataclass(frozen=True, slots=True)
class EvidencePoint:
    """What was known at one moment (Unix seconds); *value* is a difference of ratios."""

    at: float
    value: Interval


@dataclass(frozen=True, slots=True)
class VerdictMark:
    """The verdict became *verdict* at this moment (Unix seconds)."""

    at: float
    verdict: str


def evidence_chart(
    points_in_time: Sequence[EvidencePoint],
    *,
    name: str,
    title: str,
    threshold: float,
    threshold_name: str,
    changes: Sequence[VerdictMark] = (),
) -> Markup:
    """
    A line through the estimates in a band of their bounds.

    Args:
        points_in_time: At least one, oldest first.
        name: Letters, digits and hyphens; unlike any other drawing's on the page.
        title: What the evidence is of.
        threshold: The value that matters, a difference of ratios.
        threshold_name: Why it matters, in a few words.
        changes: When the verdict became what it then was, oldest first.
    """
    first, last = points_in_time[0], points_in_time[-1]
    start, end = span([first.at, last.at, *(mark.at for mark in changes)])
    marks = ticks(*_in_view(points_in_time, threshold), most=5)
    x = Scale(start, end, _LEFT, _RIGHT)
    y = Scale(marks[0], marks[-1], _TOP + _PLOT, _TOP)
    bottom = _TOP + _PLOT
    picture = Drawing(
        name,
        title=title,
        description=(
            f"Now {with_bounds(last.value)}; first {with_bounds(first.value)}; {threshold_name} at {points(threshold)}."
            + "".join(f" {mark.verdict} at {_minute(mark.at)}." for mark in changes)
        ),
        width=_WIDTH,
        height=bottom + 40,
    )
    for mark in marks:
        picture.line((_LEFT, y(mark)), (_RIGHT, y(mark)), stroke=INK if mark == 0 and threshold != 0 else GRID)
        picture.text(_LEFT - 5, y(mark) + 4, f"{100 * mark:+g}" if mark else "0", anchor="end", fill=MUTED)
    for moment, label in time_ticks(start, end) or [(last.at, _minute(last.at))]:
        picture.line((x(moment), bottom), (x(moment), bottom + 4), stroke=MUTED)
        picture.text(_within(x(moment), label), bottom + 16, label, anchor="middle", fill=MUTED)
    _band(picture, points_in_time, x, y)
    picture.line((_LEFT, y(threshold)), (_RIGHT, y(threshold)), stroke=ALARM, width=1.5, dashes="5 3")
    picture.line((_LEFT, bottom + 30), (_LEFT + 18, bottom + 30), stroke=ALARM, width=1.5, dashes="5 3")
    named = f"{threshold_name} ({points(threshold)})" if threshold else threshold_name
    picture.text(_LEFT + 24, bottom + 34, shortened(named, _RIGHT - _LEFT - 24), fill=ALARM)
    _mark_changes(picture, changes, x, bottom)
    return picture.svg()


def _in_view(points_in_time: Sequence[EvidencePoint], threshold: float) -> tuple[float, float]:
    """The least and the greatest value that has to be seen."""
    settled = points_in_time[int(_FIRST_IN_VIEW * len(points_in_time)) :]
    values = [
        *(bound for point in settled for bound in (point.value.lower, point.value.upper)),
        *(point.value.estimate for point in points_in_time),
    ]
    return min(*values, threshold, 0.0), max(*values, threshold, 0.01)


def _band(picture: Drawing, points_in_time: Sequence[EvidencePoint], x: Scale, y: Scale) -> None:
    colour = Arm.CANDIDATE.colour
    upper = [(x(point.at), y(point.value.upper)) for point in points_in_time]
    lower = [(x(point.at), y(point.value.lower)) for point in points_in_time]
    if len(points_in_time) > 1:
        picture.add("polygon", points=path_of([*upper, *reversed(lower)]), fill=colour, fill_opacity=0.2)
        line = [(x(point.at), y(point.value.estimate)) for point in points_in_time]
        picture.add("polyline", points=path_of(line), fill="none", stroke=colour, stroke_width=2.0)
    last = points_in_time[-1]
    picture.line(upper[-1], lower[-1], stroke=colour, width=1.5)
    picture.mark(Arm.CANDIDATE, x(last.at), y(last.value.estimate), size=4)


def _mark_changes(picture: Drawing, changes: Sequence[VerdictMark], x: Scale, bottom: float) -> None:
    """A line for every change, and its name in the first of two rows where there is room for it."""
    free = [0.0, 0.0]
    for mark in changes:
        place = x(mark.at)
        picture.line((place, _TOP - 6), (place, bottom), stroke=MUTED, dashes="1 2")
        picture.add(
            "polygon", points=path_of(((place - 4, _TOP - 8), (place + 4, _TOP - 8), (place, _TOP - 1))), fill=MUTED
        )
        width = text_width(mark.verdict)
        start = min(max(place - width / 2, 0.0), _WIDTH - width)
        row = next((row for row, taken in enumerate(free) if start >= taken), None)
        if row is not None:
            free[row] = start + width + 4
            picture.text(start, _TOP - 12 - 13 * row, mark.verdict, is_bold=True, size=FONT_SIZE - 1)


def _within(place: float, label: str) -> float:
    half = text_width(label) / 2
    return min(max(place, half), _WIDTH - half)


def _minute(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
