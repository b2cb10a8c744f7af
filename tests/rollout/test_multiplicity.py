"""Which of many e-values may be believed together."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitor.rollout.multiplicity import closed_e_bh

e_values = st.lists(st.floats(0, 200), min_size=1, max_size=6)


def logs(values: list[float]) -> dict[int, float]:
    return {index: math.log(value) if value > 0 else -math.inf for index, value in enumerate(values)}


def may_be_rejected(chosen: tuple[int, ...], values: list[float], level: float) -> bool:
    """The definition, over every subset."""
    everything = range(len(values))
    return all(
        sum(values[index] for index in subset) / len(subset)
        >= len(set(subset) & set(chosen)) / (level * len(chosen)) * (1 - 1e-12)
        for size in range(1, len(values) + 1)
        for subset in combinations(everything, size)
    )


@given(e_values, st.sampled_from([0.05, 0.1, 0.3]))
def test_rejections_are_the_largest_that_the_definition_allows(values: list[float], level: float) -> None:
    """The short way over sorted values finds as many as a search through every set."""
    everything = range(len(values))
    best = max(
        (
            size
            for size in range(1, len(values) + 1)
            for chosen in combinations(everything, size)
            if may_be_rejected(chosen, values, level)
        ),
        default=0,
    )

    assert best == len(closed_e_bh(logs(values), level=level))


@given(e_values, st.sampled_from([0.05, 0.1, 0.3]))
def test_nothing_is_lost_against_e_bh(values: list[float], level: float) -> None:
    """Whatever e-BH believes, the closed procedure believes too."""
    ranked = sorted(values, reverse=True)
    e_bh = max((k for k, value in enumerate(ranked, start=1) if value >= len(values) / (level * k)), default=0)

    assert e_bh <= len(closed_e_bh(logs(values), level=level))


def test_two_strong_findings_help_a_weaker_one() -> None:
    """e-values of 55 and 13.5 beside 0.4 at 10 %: e-BH (ville 0.1.0, evalues.ebh) believes the first alone."""
    assert {"a", "b"} == closed_e_bh({"a": 4.0, "b": 2.6, "c": -1.0}, level=0.1)


def test_nothing_asked_is_nothing_found() -> None:
    """No hypothesis, no rejection; an endless e-value is no trouble."""
    assert frozenset() == closed_e_bh({}, level=0.05)
    assert {"a"} == closed_e_bh({"a": math.inf}, level=0.05)


def test_false_findings_are_few() -> None:
    """Among ten hypotheses of which five are true, dependent or not, at most 10 % of findings are false on average."""
    rng = np.random.default_rng(30)
    false_shares = []
    for _ in range(2000):
        shared = rng.standard_normal()
        z = 0.6 * shared + 0.8 * rng.standard_normal(10) + np.array([3.0] * 5 + [0.0] * 5)
        found = closed_e_bh({index: 2.5 * z[index] - 2.5**2 / 2 for index in range(10)}, level=0.1)
        false_shares.append(sum(index >= 5 for index in found) / max(len(found), 1))

    assert np.mean(false_shares) <= 0.1
