from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.probes import ProbeCandidate, select_probes
from monitor.difficulty.settings import DifficultySettings

choose = partial(select_probes, settings=DifficultySettings())

DIFFICULTY = np.linspace(-5.0, 4.0, 300)


def features(item: int, capability: str = "search") -> RequestFeatures:
    return RequestFeatures(capability, item=f"item-{item}")


def rasch_history(versions: int, items: range, *, first: int = 0) -> list[LabelledRequest]:
    """Outcomes that follow the model: versions of about the same ability on items of known difficulty."""
    history = []
    for version in range(first, first + versions):
        rng = np.random.default_rng(version)
        failed = rng.random(len(DIFFICULTY)) < expit(DIFFICULTY + 0.3 * (version % 3 - 1))
        history += [LabelledRequest(features(i), f"v{version}", bool(failed[i]), float(version)) for i in items]
    return history


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Eight versions on every other item."""
    calibration = calibrate(rasch_history(8, range(0, 300, 2)), frozen_at=0.0, settings=DifficultySettings())
    assert calibration is not None
    assert calibration.trust.is_trusted_for_hard_rate
    return calibration


@pytest.fixture
def candidates() -> list[ProbeCandidate]:
    return [ProbeCandidate(features(item)) for item in range(300)]


@given(capabilities=st.lists(st.sampled_from("abc"), max_size=30), count=st.integers(1, 40), requests=st.integers(1, 9))
@settings(deadline=None, max_examples=50)
def test_a_panel_names_each_candidate_at_most_once(capabilities: list[str], count: int, requests: int) -> None:
    """As many different candidates as were asked for, or all there are."""
    candidates = [ProbeCandidate(features(i, name), requests) for i, name in enumerate(capabilities)]

    panel = choose(candidates, None, count=count)

    assert min(count, len(candidates)) == len(panel) == len(set(panel))


def test_a_larger_panel_begins_with_the_smaller_one_without_a_calibration() -> None:
    """Probes come in the order of what they add, so that a panel can be cut short."""
    candidates = [ProbeCandidate(features(i, "abc"[i % 3])) for i in range(40)]

    assert choose(candidates, None, count=10) == choose(candidates, None, count=30)[:10]


def test_without_a_calibration_capabilities_have_probes_as_they_have_traffic() -> None:
    """A capability with twice the requests gets about twice the probes."""
    candidates = [ProbeCandidate(features(i, "busy" if i % 3 else "calm")) for i in range(300)]

    panel = choose(candidates, None, count=60)

    probes = Counter(candidates[index].features.capability for index in panel)
    assert probes["busy"] == pytest.approx(40, abs=2)


def test_families_without_a_probe_come_first() -> None:
    """Of requests that are alike but for masked parts, one is taken before any second one."""
    candidates = [
        ProbeCandidate(RequestFeatures("search", item=f"i{i}", prompt_family=f"family-{i % 10}")) for i in range(100)
    ]

    panel = choose(candidates, None, count=10)

    assert 10 == len({candidates[index].features.prompt_family for index in panel})


def test_what_is_not_known_yet_is_preferred(calibration: Calibration, candidates: list[ProbeCandidate]) -> None:
    """Half of the items were never met; most of the panel is chosen among them."""
    panel = choose(candidates, calibration, count=60)

    assert sum(index % 2 for index in panel) > 40


def test_every_tier_has_probes(calibration: Calibration, candidates: list[ProbeCandidate]) -> None:
    """Among items that are all known, the panel reaches from the easy ones to the hardest."""
    known = [candidate for index, candidate in enumerate(candidates) if index % 2 == 0]

    panel = choose(known, calibration, count=60)

    difficulty = DIFFICULTY[::2][list(panel)]
    assert difficulty.min() < -3.5
    assert difficulty.max() > 2.0


def test_a_calibration_of_too_few_versions_is_not_asked(candidates: list[ProbeCandidate]) -> None:
    """Three versions say too little of difficulty, so the panel is the same as without them."""
    early = calibrate(rasch_history(3, range(300)), frozen_at=0.0, settings=DifficultySettings())

    assert choose(candidates, None, count=50) == choose(candidates, early, count=50)
