"""The pictures of the concept pages show what the demo measures, and the sentences beside them say the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from docs.handbook.figures import CLIFF, GAIN, NUMBERS, SAME, drawn
from docs.handbook.markdown import ROOT
from monitor.rollout.wording import percent, signed

STORED: Mapping[str, Any] = json.loads(NUMBERS.read_text(encoding="utf-8"))
SHARE, TIERS = STORED[CLIFF]["share"], STORED[CLIFF]["tiers"]


@pytest.mark.parametrize("name", drawn(STORED))
def test_a_picture_is_the_one_that_its_numbers_give(name: str) -> None:
    """`make figures` draws it anew."""
    picture = (ROOT / "docs" / "images" / name).read_text(encoding="utf-8")

    assert drawn(STORED)[name] == picture
    assert (ET.fromstring(picture).findtext("{*}desc") or "").strip()


@pytest.mark.slow
@pytest.mark.parametrize("service", STORED)
def test_the_numbers_are_those_of_the_demo(service: str, demo: Mapping[str, Mapping[str, Any]]) -> None:
    """Verdict, rates, parts and shares to six digits; the last look of the evidence is what is printed."""
    stored, printed = STORED[service], demo[service]
    share, last = stored["share"], stored["evidence"][-1]

    for name in ("baseline", "candidate", "verdict", "changes", "requests_to_verdict"):
        assert printed[name] == stored[name]
    for name in ("aggregate", "hard_tier", "decomposition"):
        assert _flat(printed[name]) == pytest.approx(_flat(stored[name]), abs=1e-6)
    for name, tier in stored["tiers"].items():
        assert _flat(printed["tiers"][name]) == pytest.approx(_flat(tier), abs=1e-6)
    assert [printed["share"][name] for name in ("baseline", "candidate", "change", "expected_change")] == pytest.approx(
        [share[name]["estimate"] for name in ("baseline", "candidate", "change")] + [share["expected_change"]], abs=1e-6
    )
    assert [printed["share"][name] for name in ("excess", "excess_lower", "excess_upper")] == pytest.approx(
        [last[name] for name in ("estimate", "lower", "upper")], abs=1e-6
    )


def _flat(numbers: Any) -> dict[str, float]:
    """Numbers by their path."""
    if not isinstance(numbers, dict):
        return {"": numbers}
    return {f"{name}.{path}": value for name, below in numbers.items() for path, value in _flat(below).items()}


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("cliff", percent(STORED[CLIFF]["aggregate"]["baseline"]["rate"])),
        ("cliff", percent(STORED[CLIFF]["aggregate"]["candidate"]["rate"])),
        ("cliff", percent(SHARE["baseline"]["estimate"])),
        ("cliff", percent(SHARE["candidate"]["estimate"])),
        ("tiers", percent(TIERS["hard"]["baseline"]["rate"])),
        ("tiers", percent(TIERS["hard"]["candidate"]["rate"])),
        ("tiers", percent(TIERS["medium"]["baseline"]["rate"])),
        ("tiers", percent(TIERS["medium"]["candidate"]["rate"])),
        ("uniform-gain", percent(SHARE["baseline"]["estimate"] + SHARE["expected_change"])),
        ("uniform-gain", signed(SHARE["excess"]["estimate"])),
        ("uniform-gain", percent(STORED[GAIN]["share"]["candidate"]["estimate"])),
        ("uniform-gain", signed(STORED[GAIN]["share"]["excess"]["estimate"])),
        ("share", signed(SHARE["change"]["estimate"])),
        ("share", signed(STORED[CLIFF]["decomposition"]["easier_tiers"])),
        ("share", signed(STORED[CLIFF]["decomposition"]["hard_tiers"])),
        ("share", signed(STORED[SAME]["decomposition"]["traffic_mix"])),
        ("verdict", str(STORED[CLIFF]["requests_to_verdict"])),
        ("verdict", signed(SHARE["excess"]["lower"])),
        ("verdict", signed(SHARE["excess"]["upper"])),
    ],
)
def test_a_concept_page_says_what_was_measured(page: str, said: str) -> None:
    """Each number of the demo that a sentence repeats."""
    assert said in (ROOT / "docs" / "concepts" / f"{page}.md").read_text(encoding="utf-8")
