"""The hard tier's share of failures before and after, and the parts that its change adds up from."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from monitor.output.charts.drawing import ALARM, FONT_SIZE, GRID, INK, MUTED, Arm, Drawing, shortened, text_width
from monitor.output.charts.scale import Scale, ticks
from monitor.rollout.verdict import Interval
from monitor.rollout.wording import percent, points, signed

_WIDTH = 360.0
_BAR, _GAP = 24.0, 28.0
_TOP = 18.0
_LEFT, _RIGHT = 104.0, 304.0
_PARTS_TOP, _ROW, _PART = 4.0, 26.0, 14.0
_SUM = "together"


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
    Two bars of all failures, the hard tier's part of them hatched, and where a uniform gain would have put it.

    Args:
        name: Letters, digits and hyphens; unlike any other drawing's on the page.
        title: What the picture is of.
        baseline: The hard tier's share of the baseline's failures, ratio 0 to 1.
        candidate: The same of the candidate, at the same traffic mix.
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
    second = _TOP + _BAR + _GAP
    picture = Drawing(name, title=title, description=description, width=_WIDTH, height=second + _BAR + 48)
    shares, names = (baseline, candidate), (baseline_name, candidate_name)
    for arm, share, label, y in zip(Arm, shares, names, (_TOP, second), strict=True):
        picture.text(0, y - 5, shortened(f"{arm.value}: {label}", _WIDTH - 110))
        picture.text(_WIDTH, y - 5, f"{percent(share.estimate)} hard", anchor="end", fill=arm.colour)
        picture.rect(at(0), y, at(1) - at(0), _BAR, fill="none", stroke=GRID)
        picture.rect(at(0), y, at(share.estimate) - at(0), _BAR, fill=picture.hatch(arm), stroke=arm.colour)
        middle = y + _BAR / 2
        picture.line((at(share.lower), middle), (at(share.upper), middle), stroke=INK, width=1.5)
        for end in (share.lower, share.upper):
            picture.line((at(end), middle - 4), (at(end), middle + 4), stroke=INK, width=1.5)
    _mark_expected(picture, at, second + _BAR, expected, candidate.estimate)
    return picture.svg()


def _mark_expected(picture: Drawing, at: Scale, bottom: float, expected: float, reached: float) -> None:
    """A tick where a uniform gain would have ended, and the way from there to where the candidate is."""
    x, end = at(expected), at(reached)
    picture.line((x, bottom - _BAR - 3), (x, bottom + 12), stroke=ALARM, width=2.0, dashes="4 2")
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
    at = Scale(marks[0], marks[-1], _LEFT, _RIGHT)
    bottom = _PARTS_TOP + _ROW * len(rows)
    description = ", ".join(f"{part} {points(change)}" for part, change in rows)
    picture = Drawing(name, title=title, description=f"{description}.", width=_WIDTH, height=bottom + 22)
    for mark in marks:
        picture.line((at(mark), _PARTS_TOP), (at(mark), bottom), stroke=INK if mark == 0 else GRID)
        picture.text(at(mark), bottom + 16, f"{100 * mark:+g}" if mark else "0", anchor="middle", fill=MUTED)
    hatch = picture.hatch(Arm.CANDIDATE)
    for index, (part, change) in enumerate(rows):
        y, is_sum = _PARTS_TOP + _ROW * (index + 0.5), index == len(parts)
        start, end = sorted((at(0.0), at(change)))
        fill = Arm.CANDIDATE.colour if is_sum else hatch
        picture.rect(start, y - _PART / 2, max(end - start, 0.8), _PART, fill=fill, stroke=Arm.CANDIDATE.colour)
        picture.text(0, y + 4, shortened(part, _LEFT - 2), is_bold=is_sum)
        picture.text(_WIDTH, y + 4, signed(change), anchor="end", is_bold=is_sum)
    return picture.svg()
