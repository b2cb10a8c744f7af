from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.output.charts.comparisons import RateRow, coverage_chart, parts_chart, rates_chart, share_chart
from monitor.output.charts.drawing import CHART_STYLE
from monitor.output.charts.evidence import evidence_chart
from monitor.rollout.verdict import Interval

SVG = "{http://www.w3.org/2000/svg}"
HARD = RateRow("hard", Interval(0.6, 0.5, 0.7), Interval(0.55, 0.47, 0.63), limit=0.5)
UNKNOWN = RateRow("frontier", None, None)
NOON = 1_790_000_000.0

Known = tuple[float, Interval]


def rates(*rows: RateRow, baseline: str = "before", candidate: str = "after") -> str:
    return rates_chart(rows, name="rates", title="Failure rates", baseline=baseline, candidate=candidate)


def share() -> str:
    return share_chart(
        name="share",
        title="Share",
        baseline=Interval(0.588, 0.5, 0.7),
        candidate=Interval(0.753, 0.7, 0.8),
        expected_change=0.055,
        baseline_name="before",
        candidate_name="after",
    )


def evidence(*points: Known, changes: tuple[tuple[float, str], ...] = (), threshold: float = 0.1) -> str:
    return evidence_chart(
        points, name="evidence", title="Excess", threshold=threshold, threshold_name="jump", changes=changes
    )


def at(hours: float, estimate: float, width: float = 0.1) -> Known:
    return NOON + 3_600 * hours, Interval(estimate, estimate - width, estimate + width)


EVERY_CHART = {
    "rates": rates(HARD, UNKNOWN),
    "share": share(),
    "parts": parts_chart({"mix": 0.004, "hard": -0.05}, name="parts", title="Parts"),
    "evidence": evidence(*(at(hour, 0.1) for hour in range(50)), changes=((NOON, "waiting"),)),
    "evidence of one look": evidence(at(0, 0.1)),
    "coverage": coverage_chart(
        {"easy": (0.97, 0.5), "hard": (None, None)},
        name="coverage",
        title="Labels",
        baseline="before",
        candidate="after",
    ),
}


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("svg", EVERY_CHART.values(), ids=EVERY_CHART.keys())
def test_a_picture_has_a_name_and_a_description(svg: str) -> None:
    """A screen reader is told what it is and what it shows."""
    picture = ET.fromstring(svg)
    told = {child.get("id"): child.text for child in picture if child.tag in {f"{SVG}title", f"{SVG}desc"}}

    assert picture.get("role") == "img"
    assert picture.get("aria-labelledby", "").split() == list(told)
    assert all(told.values())


@pytest.mark.parametrize("svg", EVERY_CHART.values(), ids=EVERY_CHART.keys())
def test_a_picture_stays_within_its_frame(svg: str) -> None:
    """No shape and no text begins outside of what is seen, and no place is unknown."""
    picture = ET.fromstring(svg)
    _, _, width, height = map(float, picture.get("viewBox", "").split())

    for element in picture.iter():
        for attribute, most in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height)):
            if (value := element.get(attribute)) is not None:
                assert 0 <= float(value) <= most, (element.tag, element.attrib)
    assert not re.search(r'"[^"]*\b(nan|inf)\b', svg)


@pytest.mark.parametrize("svg", EVERY_CHART.values(), ids=EVERY_CHART.keys())
def test_ids_belong_to_one_drawing(svg: str) -> None:
    """Several pictures on one page do not take each other's hatching."""
    ids = re.findall(r'id="([^"]+)"', svg)

    assert {1} == set(Counter(ids).values())
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(ids)


@pytest.mark.parametrize("svg", EVERY_CHART.values(), ids=EVERY_CHART.keys())
def test_a_picture_loads_nothing_and_runs_nothing(svg: str) -> None:
    """Nothing but shapes, text and paint: fit for a page under a strict policy."""
    tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()}

    assert tags <= {"svg", "title", "desc", "text", "line", "rect", "circle", "polygon", "polyline", "pattern"}
    assert "style=" not in svg
    assert "href" not in svg


def test_rates_are_written_beside_their_marks() -> None:
    """Every estimate is text, in the words of the verdict."""
    assert {"60.0 %", "55.0 %", "hard"} <= set(texts(rates(HARD)))


def test_what_is_not_known_is_said_so() -> None:
    """A tier without a rate has neither a mark nor a zero."""
    svg = rates(UNKNOWN)

    assert texts(svg).count("not known") == 2
    assert ET.fromstring(svg).findall(f"{SVG}polygon")[1:] == []  # the legend's mark alone


def test_arms_differ_in_shape() -> None:
    """Colours are not needed to tell them apart."""
    picture = ET.fromstring(rates(HARD))

    assert len(picture.findall(f"{SVG}circle")) == 2  # legend and row
    assert len(picture.findall(f"{SVG}polygon")) == 2


def test_the_excess_is_what_lies_beyond_a_uniform_gain() -> None:
    """58.8 % and 5.5 points are 64.3 %; 75.3 % are 11 points more."""
    assert "uniform gain 64.3 %, excess +11.0 points" in texts(share())


def test_parts_are_drawn_to_the_side_of_their_sign() -> None:
    """A part that lowers the share lies left of zero, one that raises it right of it, and the sum is told."""
    svg = parts_chart({"mix": 0.25, "hard": -0.125}, name="parts", title="Parts")
    rects = ET.fromstring(svg).findall(f"{SVG}rect")
    zero = next(
        float(line.get("x1", 0))
        for line in ET.fromstring(svg).iter(f"{SVG}line")
        if line.get("stroke") == "currentColor"
    )
    rises, falls, together = ((float(each.get("x", 0)), float(each.get("width", 0))) for each in rects)

    assert rises[0] == zero == together[0]
    assert falls[0] + falls[1] == pytest.approx(zero, abs=0.02)
    assert ["+25.0", "-12.5", "+12.5"] == [text for text in texts(svg) if re.fullmatch(r"[+-]\d+\.\d", text)]


def test_the_band_narrows_as_evidence_grows() -> None:
    """What is drawn early may be cut off, so that the later band is no flat line."""
    svg = evidence(at(0, 0.1, width=0.9), *(at(hour, 0.1, width=0.02) for hour in range(1, 20)))
    ticks = [float(text) for text in texts(svg) if re.fullmatch(r"[+-]?\d+(\.\d+)?", text)]

    assert max(ticks) <= 20


def test_changes_of_the_verdict_are_named() -> None:
    """Each change has its word over the time at which it came."""
    changes = ((NOON, "waiting"), (NOON + 3_600, "ok"), (NOON + 36_000, "cliff"))

    svg = evidence(at(0, 0.0), at(12, 0.2), changes=changes)

    assert {"waiting", "ok", "cliff"} <= set(texts(svg))
    assert "cliff at 2026-09-22 00:13 UTC" in svg


@given(st.text(), st.text())
def test_names_of_any_kind_are_only_text(one: str, other: str) -> None:
    """What came from outside adds no element and leaves the picture well-formed."""
    plain = [element.tag for element in ET.fromstring(rates(HARD)).iter()]

    hostile = rates(RateRow(f"<script>{one}", HARD.baseline, HARD.candidate, 0.5), baseline=other, candidate=f'"&{one}')

    assert plain == [element.tag for element in ET.fromstring(hostile).iter()]


unit = st.floats(0.0, 1.0)


@given(unit, unit, unit, unit, st.floats(-1.0, 1.0))
def test_any_share_can_be_drawn(before: float, after: float, lower: float, upper: float, expected: float) -> None:
    """Also at the ends of the scale."""
    svg = share_chart(
        name="s",
        title="Share",
        baseline=Interval(before, min(lower, before), max(upper, before)),
        candidate=Interval(after, min(lower, after), max(upper, after)),
        expected_change=expected,
        baseline_name="a",
        candidate_name="b",
    )

    assert not re.search(r'"[^"]*\b(nan|inf)\b', svg)


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_any_evidence_can_be_drawn(points: list[tuple[float, float, float]]) -> None:
    """One look or many, in one moment or over months."""
    svg = evidence(*(at(second / 3_600, estimate, width) for second, estimate, width in sorted(points)))

    assert not re.search(r'"[^"]*\b(nan|inf)\b', svg)


def _luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_of_text_can_be_read(scheme: int) -> None:
    """A contrast of 4.5 with the paper, as WCAG asks of small text."""
    colours = dict(re.findall(r"--chart-(\w+): (#\w{6})", CHART_STYLE.split("@media")[scheme]))
    paper = _luminance(colours["paper"])

    for name in ("muted", "baseline", "candidate", "alarm"):
        low, high = sorted((_luminance(colours[name]), paper))
        assert (high + 0.05) / (low + 0.05) >= 4.5, name
