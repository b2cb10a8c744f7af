"""Chart of a calibration: observed against predicted failures, and failure rates by tier."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from monitor.difficulty.trust import ReliabilityPoint
from monitor.output.calibrations import KeptCalibration, TierTable, history_rows
from monitor.output.charts.drawing import COLOURS, GRID, MUTED, PAPER, Drawing, shortened
from monitor.output.charts.scale import Scale, ticks
from monitor.rollout.cohort import ArmName
from monitor.rollout.wording import counted, percent

_WIDTH = 960.0
_LEFT, _TOP, _PLOT = 64.0, 84.0, 300.0
_NAMES, _NAME_WIDTH, _CELL, _ROW = 404.0, 180.0, 62.0, 18.0
_LEAST_DOT, _LARGEST_DOT = 3.0, 8.0


def calibration_chart(kept: KeptCalibration, history: TierTable) -> Markup:
    """
    The reliability curve of a calibration on the left, the failure rates of its history on the right, as SVG.

    Each dot is a group of held-out labels; its area grows with their number.
    """
    trust = kept.calibration.trust
    trusted = "trusted" if trust.is_trusted else "not trusted"
    learnt = f"{counted(trust.versions, 'model version')}, {kept.record.history_labels:,} labelled requests"
    title, summary = f"Calibration {kept.calibration.calibration_id}", ", ".join((trusted, learnt, *trust.figures))
    rows = [row for table in history_rows(history, is_trusted=trust.is_trusted) for row in (*table, ("",))]
    height = max(_TOP + _PLOT + 56, _TOP + _ROW * len(rows))
    picture = Drawing("calibration", title=title, description=summary, width=_WIDTH, height=height)
    picture.rect(0, 0, _WIDTH, height, fill=PAPER)
    picture.text(24, 28, title, font_size=16)
    picture.text(24, 50, summary, fill=MUTED)
    _draw_curve(picture, trust.reliability)
    for number, (name, *cells) in enumerate(rows):
        y = _TOP + _ROW * number
        picture.text(_NAMES, y, shortened(name.strip(), _NAME_WIDTH))
        for column, cell in enumerate(cells, start=1):
            picture.text(_NAMES + _NAME_WIDTH + _CELL * column, y, cell, anchor="end")
    return picture.svg()


def _draw_curve(picture: Drawing, points: Sequence[ReliabilityPoint]) -> None:
    x, y = Scale(0.0, 1.0, _LEFT, _LEFT + _PLOT), Scale(0.0, 1.0, _TOP + _PLOT, _TOP)
    for tick in ticks(0.0, 1.0):
        picture.line((x(tick), y(0)), (x(tick), y(1)), stroke=GRID)
        picture.line((x(0), y(tick)), (x(1), y(tick)), stroke=GRID)
        picture.text(x(tick), y(0) + 18, f"{tick:.0%}", anchor="middle", fill=MUTED)
        picture.text(x(0) - 8, y(tick) + 4, f"{tick:.0%}", anchor="end", fill=MUTED)
    picture.line((x(0), y(0)), (x(1), y(1)), stroke=MUTED, dashes="4 4")
    picture.text(x(0), y(1) - 10, "failures observed, on held-out labels")
    picture.text(x(0.5), y(0) + 40, "failures predicted", anchor="middle")
    if not points:
        picture.text(x(0.5), y(0.5) - 8, "not known yet", anchor="middle", fill=MUTED)
    colour = COLOURS[ArmName.CANDIDATE]
    places = [(x(point.predicted), y(point.observed)) for point in points]
    picture.add("polyline", points=places, fill="none", stroke=colour, stroke_width=1.5)
    for point, (across, up) in zip(points, places, strict=True):
        radius = max(_LEAST_DOT, _LARGEST_DOT * (point.labels / max(other.labels for other in points)) ** 0.5)
        dot = picture.add("circle", cx=across, cy=up, r=radius, fill=colour, fill_opacity=0.8)
        text = f"{percent(point.predicted)} predicted, {percent(point.observed)} observed, {point.labels:,} labels"
        picture.add("title", inside=dot, text=text)
