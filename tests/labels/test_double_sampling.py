"""Failure rates from verdicts of several kinds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.labels.double_sampling import (
    CHECK_FAILED,
    JUDGE_FAILED,
    MISSING,
    Sources,
    audit_variance,
    estimate,
    judge_errors,
)
from monitor.labels.source_verdicts import PatternCount

JUDGE = Sources(is_sampled=True, is_judged=True)
REPORTS = Sources(is_sampled=True, is_judged=False)
COUNTS = st.integers(0, 2_000)


def count(pattern: str, requests: int, *, chance: float = 1.0) -> PatternCount:
    """*requests* with that verdict *pattern*; each of its verdicts was asked for with that *chance*."""
    spoken = pattern.replace("-", "")
    looked, audited = requests * bool(pattern[1:].strip("-")), requests * (pattern[3:] not in {"", "-"})
    return PatternCount(
        pattern,
        requests,
        requests * bool(spoken),
        requests * (spoken[-1:] == "f"),
        looked / chance,
        looked / chance**2,
        audited / chance,
        audited / chance**2,
    )


def tally(*counts: PatternCount, sources: Sources = JUDGE) -> np.ndarray:
    return np.sum([sources.tally(count) for count in counts], axis=0)


@given(errors=COUNTS, failed=COUNTS, passed=COUNTS)
def test_full_coverage_without_audits_is_plain_counting(errors: int, failed: int, passed: int) -> None:
    """Every run is known or judged: as many failures of as many requests as were counted."""
    counts = [count("f---", errors), count("p-f-", failed), count("p-p-", passed)]
    if not failed + passed:
        return
    rate = estimate(tally(*counts))

    requests, failures = np.sum([rate.of(each, JUDGE.place(each.pattern)) for each in counts], axis=0)
    assert errors + failed + passed == pytest.approx(requests)
    assert errors + failed == pytest.approx(failures)


@given(right=COUNTS, false_failures=COUNTS, false_passes=COUNTS, good=COUNTS)
def test_people_who_check_everything_are_plain_counting(
    right: int, false_failures: int, false_passes: int, good: int
) -> None:
    """The judge counts for nothing where a person looked at every run."""
    counts = [count("p-ff", right), count("p-fp", false_failures), count("p-pf", false_passes), count("p-pp", good)]
    requests = right + false_failures + false_passes + good
    if not requests:
        return
    of_all = tally(*counts)
    rate = estimate(of_all, of_all[8:14])

    assert (right + false_passes) / requests == pytest.approx(rate.rate)
    assert 1.0 == pytest.approx(rate.scale)


def test_a_part_that_was_judged_stands_for_the_rest() -> None:
    """900 runs passed the checks, a tenth of them was judged; 100 errors are known. Worth more than 90 + 100 runs."""
    counts = [count("f---", 100), count("p---", 810), count("p-f-", 9), count("p-p-", 81)]

    rate = estimate(tally(*counts))

    assert 0.1 + 0.9 * 0.1 == pytest.approx(rate.rate)
    assert 0.09 < rate.scale < 0.25


def test_inclusion_probabilities_weigh() -> None:
    """Every run that looked bad was judged, of the others one in twenty."""
    counts = [count("p-f-", 80), count("p-p-", 20), count("p-f-", 2, chance=0.05), count("p-p-", 43, chance=0.05)]

    rate = estimate(tally(count("p---", 855), *counts))

    assert (80 + 2 / 0.05) / 1_000 == pytest.approx(rate.rate)
    assert rate.scale < 0.3


def test_the_same_as_prediction_powered_inference() -> None:
    """
    1,000 judged runs, 120 of them failures; of these 24 are audited and 6 are good, of the passes 176 and 4 are bad.

    Values of ppi_estimate in truescore 0.7.4 (PPI++, lambda 0.581): 0.1100, standard error 0.01635. Ours is a little
    larger, as four errors among 176 are not taken to be the last word.
    """
    of_all = tally(
        count("p-f-", 96),
        count("p-ff", 18),
        count("p-fp", 6),
        count("p-p-", 704),
        count("p-pf", 4),
        count("p-pp", 172),
    )

    rate = estimate(of_all, of_all[8:14])

    assert 0.1100 == pytest.approx(rate.rate)
    error = (rate.rate * (1 - rate.rate) / (rate.scale * 1_000)) ** 0.5
    assert 0.01635 == pytest.approx(error, rel=0.02)
    assert 0.01635 < error


def test_corrected_rates_are_unbiased_when_people_check_a_random_part() -> None:
    """
    A judge that fails 5 % of the good and passes 20 % of the bad; 2,000 of 20,000 runs are checked, 400 times.

    The mean of 400 estimates has a standard error of at most 0.5 / sqrt(2,000 * 400) = 0.00056; four of them are the
    tolerance. Uncorrected, the rate is 0.10 * 0.8 + 0.9 * 0.05 = 0.125.
    """
    rng = np.random.default_rng(16)
    bad = rng.binomial(20_000, 0.10, 400)
    estimates = []
    for failures in bad:
        missed, false = rng.binomial(failures, 0.20), rng.binomial(20_000 - failures, 0.05)
        cells = {"ff": failures - missed, "pf": missed, "fp": false, "pp": 20_000 - failures - false}
        counts = []
        for (judge, person), number in cells.items():
            audited = rng.binomial(number, 0.1)
            counts += [count(f"p-{judge}{person}", audited), count(f"p-{judge}-", number - audited)]
        of_all = tally(*counts)
        estimates.append(estimate(of_all, of_all[8:14]).rate)

    assert 0.10 == pytest.approx(np.mean(estimates), abs=4 * 0.00056)


def test_people_may_choose_by_what_the_judge_said() -> None:
    """All failures and few passes are checked: each counts for its own kind, so the rate is right all the same."""
    of_all = tally(count("p-ff", 60), count("p-fp", 40), count("p-pf", 2), count("p-pp", 18), count("p-p-", 880))

    assert (60 + 0.1 * 900) / 1_000 == pytest.approx(estimate(of_all, of_all[8:14]).rate)


def test_a_judge_has_two_kinds_of_errors() -> None:
    """A quarter of its 40 failures is good, a tenth of its 160 passes is bad; all are checked."""
    of_all = tally(count("p-ff", 30), count("p-fp", 10), count("p-pf", 16), count("p-pp", 144))

    (good, false_failures), (bad, false_passes) = judge_errors(of_all, of_all[8:14])

    assert 10 / 154 == pytest.approx(false_failures / good)
    assert 16 / 46 == pytest.approx(false_passes / bad)
    assert (154, 46) == pytest.approx((good, bad))
    assert 0 < audit_variance(of_all, of_all[8:14]) < 0.25


@pytest.mark.parametrize(
    ("pattern", "sources", "place"),
    [
        pytest.param("f---", JUDGE, CHECK_FAILED, id="an error is known"),
        pytest.param("f-p-", JUDGE, CHECK_FAILED, id="whoever looks at it"),
        pytest.param("p---", JUDGE, MISSING, id="no error is not known to be good"),
        pytest.param("pp--", JUDGE, MISSING, id="nor is a thumb up, where there is a judge"),
        pytest.param("pf--", JUDGE, CHECK_FAILED, id="a thumb down is"),
        pytest.param("pp--", REPORTS, JUDGE_FAILED + 1, id="without a judge, reports are checked in its place"),
    ],
)
def test_what_counts_as_what(pattern: str, sources: Sources, place: int) -> None:
    """Where a judge or a person looks at some runs, a run that nobody looked at is unlabelled."""
    assert place == sources.place(pattern)


def test_a_few_stray_verdicts_are_no_source() -> None:
    """Three people among a thousand runs revise single labels; thirty are a source of their own."""
    assert not Sources.of([count("p---", 997), count("p--f", 3)]).is_sampled
    assert Sources.of([count("p---", 970), count("p--f", 30)]).is_sampled


def test_without_a_look_nothing_is_known() -> None:
    """Errors alone say nothing of what passed the checks, and nothing is divided by nothing."""
    rate = estimate(tally(count("f---", 20), count("p---", 80)))

    assert (0.0, 0.0) == rate.of(count("f---", 20), CHECK_FAILED)
