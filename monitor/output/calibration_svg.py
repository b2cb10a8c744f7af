"""The reliability curve and the tier table of a calibration as an SVG picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitor.difficulty.tier_table import Tally, TierTable
from monitor.difficulty.tiers import TIERS
from monitor.difficulty.trust import ReliabilityPoint
from monitor.output.calibrations import KeptCalibration
from monitor.output.charts.drawing import Drawing, shortened

_WIDTH = 980
_MARGIN = 24
_TITLE_HEIGHT = 64
_PLOT = 320
"""Side of the square that holds the curve, in pixels."""
_PLOT_LEFT, _PLOT_TOP = _MARGIN + 40, _TITLE_HEIGHT + _MARGIN
_TABLE_LEFT = _PLOT_LEFT + _PLOT + 56
_NAME_WIDTH = 210
_CELL = 58
_ROW = 18
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SMALLEST_DOT, _LARGEST_DOT = 3.0, 8.0

_INK, _FAINT, _CURVE = "#1f2328", "#8c959f", "#0969da"


def calibration_svg(kept: KeptCalibration, history: TierTable) -> str:
    """
    *kept* as SVG: left how often requests failed against how often that was predicted, right failure rates by tier.

    A cell of the table is the darker the more often its version fails there.
    """
    title, summary = f"Calibration {kept.calibration.calibration_id}", _summary(kept)
    height = max(_PLOT_TOP + _PLOT + 64, _PLOT_TOP + _ROW * (len(history.versions) + 4) + _MARGIN)
    picture = Drawing("calibration", title=title, description=summary, width=_WIDTH, height=height, is_standalone=True)
    picture.text(_MARGIN, 30, title, size=16)
    picture.text(_MARGIN, 50, summary, fill=_FAINT)
    _axes(picture)
    _curve(picture, kept.calibration.trust.reliability)
    _table(picture, history)
    return picture.document()


def _summary(kept: KeptCalibration) -> str:
    trust = kept.calibration.trust
    trusted = "trusted" if trust.is_trusted else "not trusted"
    learnt_from = f"{trust.versions} model versions, {kept.record.history_labels:,} labelled requests"
    return ", ".join((trusted, learnt_from, *trust.figures))


def _axes(picture: Drawing) -> None:
    for tick in _TICKS:
        x, y = _at(tick, tick)
        picture.line((x, _PLOT_TOP), (x, _PLOT_TOP + _PLOT), stroke=_FAINT, width=0.5)
        picture.line((_PLOT_LEFT, y), (_PLOT_LEFT + _PLOT, y), stroke=_FAINT, width=0.5)
        picture.text(x, _PLOT_TOP + _PLOT + 18, f"{tick:.0%}", anchor="middle", fill=_FAINT)
        picture.text(_PLOT_LEFT - 8, y + 4, f"{tick:.0%}", anchor="end", fill=_FAINT)
    picture.line(_at(0, 0), _at(1, 1), stroke=_FAINT, dashes="4 4")
    picture.text(_PLOT_LEFT + _PLOT / 2, _PLOT_TOP + _PLOT + 40, "failures predicted", anchor="middle")
    picture.text(_PLOT_LEFT, _PLOT_TOP - 10, "failures observed, on held-out labels")


def _curve(picture: Drawing, points: Sequence[ReliabilityPoint]) -> None:
    if not points:
        picture.text(_PLOT_LEFT + _PLOT / 2, _PLOT_TOP + _PLOT / 2, "not known yet", anchor="middle", fill=_FAINT)
        return
    places = [_at(point.predicted, point.observed) for point in points]
    picture.add("polyline", points=places, fill="none", stroke=_CURVE, stroke_width=1.5)
    most = max(point.labels for point in points)
    for point, (x, y) in zip(points, places, strict=True):
        radius = max(_SMALLEST_DOT, _LARGEST_DOT * (point.labels / most) ** 0.5)
        dot = picture.add("circle", cx=x, cy=y, r=radius, fill=_CURVE, fill_opacity=0.8)
        text = f"{point.predicted:.1%} predicted, {point.observed:.1%} observed, {point.labels} labels"
        picture.add("title", inside=dot, text=text)


def _at(predicted: float, observed: float) -> tuple[float, float]:
    return _PLOT_LEFT + predicted * _PLOT, _PLOT_TOP + (1 - observed) * _PLOT


def _table(picture: Drawing, history: TierTable) -> None:
    for row, (name, cells) in enumerate(_rows(history)):
        y = _PLOT_TOP + row * _ROW
        picture.text(_TABLE_LEFT, y, shortened(name, _NAME_WIDTH - 4))
        for column, (label, shade) in enumerate(cells):
            x = _TABLE_LEFT + _NAME_WIDTH + column * _CELL
            if shade is not None:
                picture.rect(x + 1, y - _ROW + 6, _CELL - 2, _ROW - 2, fill=_CURVE, opacity=0.5 * shade)
            picture.text(x + _CELL - 6, y, label, anchor="end", fill=_INK if row else _FAINT)


_Cell = tuple[str, float | None]
"""What a cell says, and how dark it is (ratio 0 to 1)."""


def _rows(history: TierTable) -> Iterator[tuple[str, Sequence[_Cell]]]:
    yield "", [(tier.value, None) for tier in TIERS] + [("all", None)]
    yield "share of traffic", [(f"{history.traffic_share(tier):.0%}", None) for tier in TIERS] + [("", None)]
    yield "failure rate", [*(_cell(history.of_tier(tier)) for tier in TIERS), ("", None)]
    for version, tiers in history.versions.items():
        yield version, [*(_cell(tiers.get(tier)) for tier in TIERS), _cell(history.of_version(version))]


def _cell(tally: Tally | None) -> _Cell:
    rate = None if tally is None else tally.failure_rate
    return ("-", None) if rate is None else (f"{rate:.1%}", rate)
