"""Parts that add up to a change, each as a bar to the left or to the right of zero."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from monitor.output.charts.drawing import GRID, INK, MUTED, Arm, Drawing, shortened
from monitor.output.charts.scale import Scale, ticks
from monitor.rollout.wording import points, signed

_WIDTH = 360.0
_LEFT, _RIGHT = 104.0, 304.0
_TOP, _ROW, _BAR = 4.0, 26.0, 14.0
_SUM = "together"


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
    at = Scale(marks[0], marks[-1], _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(rows)
    description = ", ".join(f"{part} {points(change)}" for part, change in rows)
    picture = Drawing(name, title=title, description=f"{description}.", width=_WIDTH, height=bottom + 22)
    for mark in marks:
        picture.line((at(mark), _TOP), (at(mark), bottom), stroke=INK if mark == 0 else GRID)
        picture.text(at(mark), bottom + 16, f"{100 * mark:+g}" if mark else "0", anchor="middle", fill=MUTED)
    hatch = picture.hatch(Arm.CANDIDATE)
    for index, (part, change) in enumerate(rows):
        y, is_sum = _TOP + _ROW * (index + 0.5), index == len(parts)
        start, end = sorted((at(0.0), at(change)))
        fill = Arm.CANDIDATE.colour if is_sum else hatch
        picture.rect(start, y - _BAR / 2, max(end - start, 0.8), _BAR, fill=fill, stroke=Arm.CANDIDATE.colour)
        picture.text(0, y + 4, shortened(part, _LEFT - 2), is_bold=is_sum)
        picture.text(_WIDTH, y + 4, signed(change), anchor="end", is_bold=is_sum)
    return picture.svg()
