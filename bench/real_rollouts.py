"""
Rollouts between real model versions, judged on real outcomes.

Difficulty is learnt from twelve consecutive versions; a later version is the baseline and one after it the candidate.
Each arm draws its requests with replacement from the live ones, of which a part is in the history. The truth comes from
all live requests, with tiers from all *other* versions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from bench.outcomes import Outcomes
from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tag
from monitor.rollout.cohort import Arm, Cohort, Stratum
from monitor.rollout.judging import judge
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import ShareComparison, Verdict, VerdictState

_Array = NDArray[np.float64]
_Flags = NDArray[np.bool_]
_Indices = NDArray[np.int64]

REFERENCE_VERSIONS = 12
LIVE_SHARE = 0.41
_PRIOR_VARIANCE = 8.0
_NEWTON_STEPS = 60
_LARGEST_ABILITY = 30.0
_HARD_FROM = 0.15


@dataclass(frozen=True, slots=True)
class Truth:
    """The true changes of a pair on all live requests, by tiers from all other versions; ratios."""

    change: float
    expected: float
    aggregate_change: float
    hard_rate_change: float

    @property
    def excess(self) -> float:
        return self.change - self.expected


@dataclass(frozen=True, slots=True)
class MeasuredShare:
    """A verdict's estimates of the hard tier's share of failures; ratios."""

    change: float
    expected: float
    excess: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """
    One rollout between real versions: the truth and the verdict.

    Attributes:
        start: First version of the history.
        state: The last verdict.
        requests_to_verdict: Labelled candidate requests when the last verdict was first reached.
        reached: Every verdict at any look.
        share: None if the last verdict has no share.
    """

    data: str
    start: int
    known_share: float
    baseline: str
    candidate: str
    truth: Truth
    state: VerdictState
    requests_to_verdict: int
    reached: frozenset[VerdictState]
    share: MeasuredShare | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """
    How to make rollouts from real versions.

    Attributes:
        known_share: Share of the live requests that the history holds, ratio 0 to 1.
        starts: First history version of each repetition.
        pairs: Pairs per repetition.
        looks: Looks per pair.
        per_look: Requests of each arm between two looks.
        mended: None for a real candidate; else the candidate is the baseline with this part of its failures outside the
            hard tier turned into passes: a constructed cliff, ratio 0 to 1.
        seed: Random seed.
    """

    known_share: float
    starts: Sequence[int]
    pairs: int
    looks: int
    per_look: int
    mended: float | None = None
    seed: int = 7


@dataclass(frozen=True, slots=True)
class History:
    """
    A calibration learnt from twelve consecutive versions.

    Attributes:
        served: Each version with the requests that it answered, in their order; indices into the outcomes.
        live: Requests that the arms draw from; indices into the outcomes.
        calibration: Frozen after the last of *served*.
    """

    outcomes: Outcomes
    start: int
    served: Sequence[tuple[int, _Indices]]
    live: _Indices
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class RealRollout:
    """
    One simulated rollout before it is judged.

    Attributes:
        failed: Outcomes of baseline and candidate on the live requests, each of shape (live requests,).
        drawn: Requests of both arms in their order, indices into the live ones; shape (2, looks, requests per look).
    """

    history: History
    known_share: float
    baseline: str
    candidate: str
    truth: Truth
    failed: tuple[_Flags, _Flags]
    drawn: _Indices


def draw_rollouts(outcomes: Outcomes, protocol: Protocol) -> Iterator[RealRollout]:
    """Pairs of later versions, for each start of the history; those of one start share one `History`."""
    for start in protocol.starts:
        rng = np.random.default_rng((protocol.seed, start))
        history = _history(outcomes, start, protocol.known_share, rng)
        first = max(len(outcomes.versions) // 2, start + REFERENCE_VERSIONS)
        later = [(a, b) for a in range(first, len(outcomes.versions)) for b in range(a + 1, len(outcomes.versions))]
        for index in rng.permutation(len(later))[: protocol.pairs]:
            yield _draw(history, later[index], protocol, rng)


def judge_pairs(outcomes: Outcomes, protocol: Protocol) -> Iterator[Pair]:
    """Verdicts on pairs of later versions, both arms side by side, by the statistics alone."""
    for rollout in draw_rollouts(outcomes, protocol):
        verdicts = list(watch(rollout))
        last = verdicts[-1]
        yield pair_of(
            rollout,
            state=last.state,
            requests_to_verdict=last.requests_to_verdict,
            reached=frozenset(verdict.state for verdict in verdicts),
            share=None if last.share is None else measured(last.share),
        )


def measured(share: ShareComparison) -> MeasuredShare:
    """The estimates of *share*."""
    return MeasuredShare(share.change.estimate, share.expected_change, share.excess.estimate)


def pair_of(
    rollout: RealRollout,
    *,
    state: VerdictState,
    requests_to_verdict: int,
    reached: frozenset[VerdictState],
    share: MeasuredShare | None,
) -> Pair:
    """*rollout* with its verdict."""
    return Pair(
        data=rollout.history.outcomes.name,
        start=rollout.history.start,
        known_share=rollout.known_share,
        baseline=rollout.baseline,
        candidate=rollout.candidate,
        truth=rollout.truth,
        state=state,
        requests_to_verdict=requests_to_verdict,
        reached=reached,
        share=share,
    )


def watch(rollout: RealRollout) -> Iterator[Verdict]:
    """The verdict at every look, both arms side by side."""
    history = rollout.history
    groups = _Groups([history.calibration.tag(history.outcomes.features[index]) for index in history.live])
    verdict: Verdict | None = None
    for look in range(rollout.drawn.shape[1]):
        baseline, candidate = (
            Arm(name, groups.strata(rollout.drawn[side, : look + 1].ravel(), rollout.failed[side]))
            for side, name in enumerate((rollout.baseline, rollout.candidate))
        )
        cohort = Cohort(baseline, candidate, history.calibration.calibration_id)
        verdict = judge(cohort, history.calibration, Policy(), previous=verdict)
        yield verdict


def _history(outcomes: Outcomes, start: int, known_share: float, rng: np.random.Generator) -> History:
    live, pool = _split(len(outcomes.features), known_share, rng)
    served = [(version, rng.permutation(pool)) for version in range(start, start + REFERENCE_VERSIONS)]
    calibration = calibrate(
        _labelled(outcomes, served), frozen_at=float(len(outcomes.versions)), settings=DifficultySettings()
    )
    assert calibration is not None
    return History(outcomes, start, served, live, calibration)


def _draw(history: History, pair: tuple[int, int], protocol: Protocol, rng: np.random.Generator) -> RealRollout:
    outcomes, live = history.outcomes, history.live
    tiers = _other_versions_tiers(outcomes, pair, live, history.calibration.reference_version)
    before, after = (outcomes.failed[version][live] for version in pair)
    candidate = outcomes.versions[pair[1]]
    if protocol.mended is not None:
        after = before & (tiers.is_hard | (rng.random(len(live)) >= protocol.mended))
        candidate = "(its easier failures mended)"
    return RealRollout(
        history=history,
        known_share=protocol.known_share,
        baseline=outcomes.versions[pair[0]],
        candidate=candidate,
        truth=_truth(before, after, tiers),
        failed=(before, after),
        drawn=rng.integers(0, len(live), size=(2, protocol.looks, protocol.per_look)),
    )


def _split(requests: int, known_share: float, rng: np.random.Generator) -> tuple[_Indices, _Indices]:
    """Live requests, and a history pool of constant size that holds *known_share* of them."""
    order = rng.permutation(requests)
    live, rest = np.split(order, [int(LIVE_SHARE * requests)])
    known = int(known_share * len(live))
    return live, np.concatenate((live[:known], rest[: len(rest) - known]))


def _labelled(outcomes: Outcomes, served: Sequence[tuple[int, _Indices]]) -> Iterator[LabelledRequest]:
    for version, requests in served:
        for index in requests:
            yield LabelledRequest(
                features=outcomes.features[index],
                model_version=outcomes.versions[version],
                failed=bool(outcomes.failed[version, index]),
                started_at=float(version),
            )


class _Groups:
    """Live requests grouped into strata, so that a look is three sums."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        members: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for index, tag in enumerate(tags):
            members[tag.tier, tag.bin, tag.is_known].append(index)
        self._firsts = [tags[indices[0]] for indices in members.values()]
        self._group = np.empty(len(tags), dtype=int)
        for group, indices in enumerate(members.values()):
            self._group[indices] = group
        self._logit = np.array([tag.difficulty_logit for tag in tags])
        self._variance = np.array([tag.difficulty_variance for tag in tags])

    def strata(self, drawn: _Indices, failed: _Flags) -> list[Stratum]:
        group, size = self._group[drawn], len(self._firsts)
        requests = np.bincount(group, minlength=size)
        failures = np.bincount(group, weights=failed[drawn], minlength=size)
        logits = np.bincount(group, weights=self._logit[drawn], minlength=size)
        variances = np.bincount(group, weights=self._variance[drawn], minlength=size)
        return [
            Stratum(
                tier=tag.tier,
                capability="any",
                bin=tag.bin,
                is_known=tag.is_known,
                requests=int(requests[index]),
                labelled=int(requests[index]),
                failures=int(failures[index]),
                logit_sum=float(logits[index]),
                variance_sum=float(variances[index]),
            )
            for index, tag in enumerate(self._firsts)
            if requests[index] > 0
        ]


@dataclass(frozen=True, slots=True)
class _OtherVersionsTiers:
    """Difficulty of the live requests by all versions that are not compared, and which of them are hard."""

    logits: _Array
    is_hard: _Flags


def _other_versions_tiers(
    outcomes: Outcomes, compared: tuple[int, int], live: _Indices, reference_version: str
) -> _OtherVersionsTiers:
    others = [index for index in range(len(outcomes.versions)) if index not in compared]
    difficulty, ability = rasch(outcomes.failed[others].astype(float))
    reference = ability[others.index(outcomes.versions.index(reference_version))]
    return _OtherVersionsTiers(difficulty[live], expit(difficulty[live] + reference) > _HARD_FROM)


def _truth(before: _Flags, after: _Flags, tiers: _OtherVersionsTiers) -> Truth:
    logits, is_hard = tiers.logits, tiers.is_hard
    return Truth(
        change=_share(after, is_hard) - _share(before, is_hard),
        expected=_uniform_gain_share(logits, is_hard, float(after.mean()))
        - _uniform_gain_share(logits, is_hard, float(before.mean())),
        aggregate_change=float(after.mean() - before.mean()),
        hard_rate_change=float(after[is_hard].mean() - before[is_hard].mean()),
    )


def rasch(failed: _Array) -> tuple[_Array, _Array]:
    """
    Difficulty of each request and (negative) ability of each version: most probable values, logits.

    Args:
        failed: 1 for a failure; shape (versions, requests).

    Source:
        Rasch (1960), with a normal prior on difficulty; alternating Newton steps.
    """
    ability: _Array = logit(np.clip(failed.mean(axis=1), 0.01, 0.99))
    difficulty = np.zeros(failed.shape[1])
    for _ in range(_NEWTON_STEPS):
        rate = expit(difficulty + ability[:, None])
        slope = (rate * (1 - rate)).sum(axis=0) + 1 / _PRIOR_VARIANCE
        difficulty = difficulty + ((failed - rate).sum(axis=0) - difficulty / _PRIOR_VARIANCE) / slope
        rate = expit(difficulty + ability[:, None])
        ability = ability + np.clip((failed - rate).sum(axis=1) / (rate * (1 - rate)).sum(axis=1), -1, 1)
    return difficulty, ability


def _share(failed: _Array | _Flags, is_hard: _Flags) -> float:
    return float((failed * is_hard).sum() / failed.sum())


def _uniform_gain_share(logits: _Array, is_hard: _Flags, aggregate: float) -> float:
    def too_many(ability: float) -> float:
        return float(expit(logits + ability).mean()) - aggregate

    return _share(expit(logits + brentq(too_many, -_LARGEST_ABILITY, _LARGEST_ABILITY)), is_hard)
