"""Chart of evidence over time: an estimate with its confidence band, the threshold, and changes of the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from monitor.output.charts.drawing import ALARM, COLOURS, FONT_SIZE, GRID, INK, MUTED, Drawing, shortened, text_width
from monitor.output.charts.scale import Scale, ticks, time_ticks
from monitor.rollout.cohort import ArmName
from monitor.rollout.verdict import Interval
from monitor.rollout.wording import minute, points, with_bounds

_WIDTH = 360.0
_LEFT, _RIGHT = 44.0, 352.0
_TOP, _PLOT = 38.0, 140.0
_FIRST_IN_VIEW = 0.2
"""Share of the points, the first ones, whose bounds may be cut off, since they would be too wide for the rest."""


def evidence_chart(
    evidence: Sequence[tuple[float, Interval]],
    *,
    name: str,
    title: str,
    threshold: float,
    threshold_name: str,
    changes: Sequence[tuple[float, str]] = (),
) -> Markup:
    """
    A line through the estimates, within the band of their bounds.

    Args:
        evidence: Times (Unix seconds) with differences of ratios; at least one, oldest first.
        name: ID of the drawing, unique on the page: letters, digits and hyphens.
        title: Title of the chart.
        threshold: The threshold, a difference of ratios.
        threshold_name: Meaning of the threshold, in a few words.
        changes: Times (Unix seconds) with the new verdict, oldest first.
    """
    (began_at, first), (now, last) = evidence[0], evidence[-1]
    moments = [began_at, now, *(at for at, _ in changes)]
    margin = 0.5 * (max(moments) == min(moments))  # a single time is drawn in the middle
    start, end = min(moments) - margin, max(moments) + margin
    marks = ticks(*_in_view([value for _, value in evidence], threshold), most=5)
    x = Scale(start, end, _LEFT, _RIGHT)
    y = Scale(marks[0], marks[-1], _TOP + _PLOT, _TOP)
    bottom = _TOP + _PLOT
    description = f"Now {with_bounds(last)}; first {with_bounds(first)}; {threshold_name} at {points(threshold)}."
    description += "".join(f" {verdict} at {minute(at)}." for at, verdict in changes)
    picture = Drawing(name, title=title, description=description, width=_WIDTH, height=bottom + 40)
    for mark in marks:
        picture.line((_LEFT, y(mark)), (_RIGHT, y(mark)), stroke=INK if mark == 0 and threshold != 0 else GRID)
        picture.text(_LEFT - 5, y(mark) + 4, f"{100 * mark:+g}" if mark else "0", anchor="end", fill=MUTED)
    for moment, label in time_ticks(start, end) or [(now, minute(now))]:
        picture.line((x(moment), bottom), (x(moment), bottom + 4), stroke=MUTED)
        picture.text(_within(x(moment), label), bottom + 16, label, anchor="middle", fill=MUTED)
    _band(picture, evidence, x, y)
    picture.line((_LEFT, y(threshold)), (_RIGHT, y(threshold)), stroke=ALARM, width=1.5, dashes="5 3")
    picture.line((_LEFT, bottom + 30), (_LEFT + 18, bottom + 30), stroke=ALARM, width=1.5, dashes="5 3")
    named = f"{threshold_name} ({points(threshold)})" if threshold else threshold_name
    picture.text(_LEFT + 24, bottom + 34, shortened(named, _RIGHT - _LEFT - 24), fill=ALARM)
    _mark_changes(picture, changes, x, bottom)
    return picture.svg()


def _in_view(values: Sequence[Interval], threshold: float) -> tuple[float, float]:
    """The lowest and highest value that must be visible."""
    settled = values[int(_FIRST_IN_VIEW * len(values)) :]
    seen = [*(bound for i in settled for bound in (i.lower, i.upper)), *(i.estimate for i in values)]
    return min(*seen, threshold, 0.0), max(*seen, threshold, 0.01)


def _band(picture: Drawing, evidence: Sequence[tuple[float, Interval]], x: Scale, y: Scale) -> None:
    colour, parts = COLOURS[ArmName.CANDIDATE], ("upper", "lower", "estimate")
    upper, lower, line = ([(x(at), y(getattr(value, part))) for at, value in evidence] for part in parts)
    if len(evidence) > 1:
        picture.add("polygon", points=[*upper, *reversed(lower)], fill=colour, fill_opacity=0.2)
        picture.add("polyline", points=line, fill="none", stroke=colour, stroke_width=2.0)
    picture.line(upper[-1], lower[-1], stroke=colour, width=1.5)
    picture.mark(ArmName.CANDIDATE, *line[-1], size=4)


def _mark_changes(picture: Drawing, changes: Sequence[tuple[float, str]], x: Scale, bottom: float) -> None:
    """Draw a line for every change, and its name in the first of two rows that has room."""
    free = [0.0, 0.0]
    for at, verdict in changes:
        place = x(at)
        picture.line((place, _TOP - 6), (place, bottom), stroke=MUTED, dashes="1 2")
        arrow = ((place - 4, _TOP - 8), (place + 4, _TOP - 8), (place, _TOP - 1))
        picture.add("polygon", points=arrow, fill=MUTED)
        width = text_width(verdict)
        start = min(max(place - width / 2, 0.0), _WIDTH - width)
        row = next((row for row, taken in enumerate(free) if start >= taken), None)
        if row is not None:
            free[row] = start + width + 4
            picture.text(start, _TOP - 12 - 13 * row, verdict, font_size=FONT_SIZE - 1, font_weight="bold")


def _within(place: float, label: str) -> float:
    half = text_width(label) / 2
    return min(max(place, half), _WIDTH - half)
