"""Parts that add up to a change, each as a bar to the left or to the right of zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from monitor.output.charts.drawing import Arm, Drawing, shortened
from monitor.output.charts.palette import GRID, INK, MUTED
from monitor.output.charts.scale import Scale, ticks
from monitor.rollout.wording import points, signed

_WIDTH = 360.0
_LEFT, _RIGHT = 104.0, 304.0
_TOP, _ROW, _BAR = 4.0, 26.0, 14.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a change; *change* is a difference of ratios."""

    name: str
    change: float


def parts_chart(parts: Sequence[Part], *, name: str, title: str, sum_name: str = "together") -> Markup:
    """
    *parts* from top to bottom, and their sum below.

    Args:
        parts: What adds up.
        name: Letters, digits and hyphens; unlike any other drawing's on the page.
        title: What the change is of.
        sum_name: What the sum is called.
    """
    total = Part(sum_name, sum(part.change for part in parts))
    rows = [*parts, total]
    marks = ticks(min(0.0, *(row.change for row in rows)), max(0.01, *(row.change for row in rows)), most=4)
    at = Scale(marks[0], marks[-1], _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(rows)
    description = ", ".join(f"{row.name} {points(row.change)}" for row in rows)
    picture = Drawing(name, title=title, description=f"{description}.", width=_WIDTH, height=bottom + 22)
    for mark in marks:
        picture.line((at(mark), _TOP), (at(mark), bottom), stroke=INK if mark == 0 else GRID)
        picture.text(at(mark), bottom + 16, f"{100 * mark:+g}" if mark else "0", anchor="middle", fill=MUTED)
    hatch = picture.hatch(Arm.CANDIDATE)
    for index, row in enumerate(rows):
        y = _TOP + _ROW * (index + 0.5)
        is_sum = row is total
        start, end = sorted((at(0.0), at(row.change)))
        picture.rect(
            start,
            y - _BAR / 2,
            max(end - start, 0.8),
            _BAR,
            fill=Arm.CANDIDATE.colour if is_sum else hatch,
            stroke=Arm.CANDIDATE.colour,
        )
        picture.text(0, y + 4, shortened(row.name, _LEFT - 2), is_bold=is_sum)
        picture.text(_WIDTH, y + 4, signed(row.change), anchor="end", is_bold=is_sum)
    return picture.svg()
