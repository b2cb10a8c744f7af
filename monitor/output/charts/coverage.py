"""How much is labelled, tier by tier in both arms."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from monitor.output.charts.drawing import FONT_SIZE, GRID, MUTED, Arm, Drawing, shortened
from monitor.output.charts.scale import Scale

_WIDTH = 360.0
_LEFT, _RIGHT = 104.0, 316.0
_TOP, _ROW, _BAR = 38.0, 36.0, 12.0


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
    at = Scale(0.0, 1.0, _LEFT, _RIGHT)
    text = "; ".join(
        f"{tier}: baseline {_percent(old)}, candidate {_percent(new)}" for tier, (old, new) in rows.items()
    )
    picture = Drawing(name, title=title, description=f"{text}.", width=_WIDTH, height=_TOP + _ROW * len(rows) + 2)
    picture.legend(14, baseline, candidate)
    hatch = picture.hatch(Arm.CANDIDATE)
    for index, (tier, arms) in enumerate(rows.items()):
        y = _TOP + _ROW * (index + 0.5)
        picture.text(0, y + 4, shortened(tier, _LEFT - 2))
        for arm, coverage, top in zip(Arm, arms, (y - _BAR - 1, y + 1), strict=True):
            picture.rect(_LEFT, top, _RIGHT - _LEFT, _BAR, fill="none", stroke=GRID)
            if coverage is None:
                picture.text(_LEFT + 4, top + 9, "not known", fill=MUTED, size=FONT_SIZE - 2)
                continue
            fill = arm.colour if arm is Arm.BASELINE else hatch
            picture.rect(_LEFT, top, at(coverage) - _LEFT, _BAR, fill=fill, stroke=arm.colour)
            picture.text(_WIDTH, top + 10, _percent(coverage), anchor="end", fill=arm.colour)
    return picture.svg()


def _percent(coverage: float | None) -> str:
    return "not known" if coverage is None else f"{100 * coverage:.0f} %"
