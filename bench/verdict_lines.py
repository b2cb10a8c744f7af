"""The lines of the table in docs/statistics.md: rollouts with a known truth, and the right verdict on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tag, Tier
from monitor.rollout.cohort import (
    SPAN_HOURS,
    Arm,
    ClusterSums,
    Cohort,
    Comparison,
    SharedClusterSums,
    Stratum,
    TierGroup,
    TiersBy,
)

_Array = NDArray[np.float64]
_Counts = NDArray[np.int64]

LOOKS = 200
TIERS = (Tier.EASY, Tier.MEDIUM, Tier.HARD)
MIX = np.array([0.6, 0.3, 0.1])
RATES = np.array([0.02, 0.10, 0.60])
CLIFF = np.array([0.01, 0.04, 0.55])
SPREAD_CLIFF = np.array([0.0075, 0.028, 0.575])
"""Rates with an excess of .10 if items of a tier differ by 0.7 logits; `CLIFF` has .06 then."""
_GROUPS = {
    TierGroup.ALL: np.array([True, True, True]),
    TierGroup.EASIER: np.array([True, True, False]),
    TierGroup.HARD: np.array([False, False, True]),
}
_HOURS_PER_LOOK = 1


@dataclass(frozen=True, slots=True)
class Scene:
    """The cohort at each look, and the calibration that tagged it."""

    cohorts: Iterator[Cohort]
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of the table.

    Attributes:
        play: Simulates one rollout from a random generator.
        limit: Largest share of runs that may raise an alarm at any look, or None if an alarm is right.
        states: The right results; an alarm of another kind counts as not found.
        named: The class that must be called regressed.
        found: Least share of runs with the right result.
        median: Most labelled candidate requests until the right result, in the median run.
        never_ok: Largest share of runs that may be `ok` at any look.
        today: Earlier result, in words.
        draws: The line whose seeds it uses, so that the same requests fail; empty for its own seeds.
    """

    name: str
    play: Callable[[np.random.Generator], Scene]
    limit: float | None = None
    states: tuple[str, ...] = ()
    named: str = ""
    found: float = 0.98
    median: float = np.inf
    never_ok: float | None = None
    today: str = ""
    draws: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """
    Requests by tier over time.

    Attributes:
        before, after: Failure rate of baseline and candidate by tier.
        canary: Candidate's share of traffic at each look; a number for all of them.
        per_look: Requests of the candidate between looks, or of both arms where *canary* changes.
        harder: Logits added to every request at each look.
        coverage: Share of the candidate's failures that is labelled, by tier.
        capabilities: Classes of each tier.
        session: Requests of a conversation.
        correlation: Correlation of two requests of a conversation.
        giant: Requests of one conversation of the candidate, from the 50th look to the 150th, that all fail.
    """

    before: _Array = field(default_factory=RATES.copy)
    after: _Array = field(default_factory=RATES.copy)
    canary: float | _Array = 0.5
    per_look: int = 50
    harder: _Array | None = None
    coverage: _Array = field(default_factory=lambda: np.ones(3))
    tiers_by: TiersBy = TiersBy.DECLARED
    session: int = 1
    correlation: float = 0.0
    giant: int = 0

    def play(self, rng: np.random.Generator) -> Scene:
        """One rollout."""
        return Scene(_cohorts(self, rng))


def _cohorts(world: World, rng: np.random.Generator) -> Iterator[Cohort]:
    canary = np.broadcast_to(np.asarray(world.canary, dtype=float), (LOOKS,))
    is_constant = np.ndim(world.canary) == 0
    candidate = np.full(LOOKS, world.per_look) if is_constant else np.round(world.per_look * canary).astype(int)
    baseline = np.round(candidate * (1 / canary - 1)).astype(int) if is_constant else world.per_look - candidate
    harder = np.zeros(LOOKS) if world.harder is None else world.harder
    arms = [
        _arm(size, expit(logit(rate) + harder[:, None]), coverage, world, rng)
        for size, rate, coverage in ((baseline, world.before, np.ones(3)), (candidate, world.after, world.coverage))
    ]
    if world.giant:
        arms[1] = arms[1].with_giant(world.giant, tier=rng.choice(3, p=MIX))
    by_hour = world.harder is not None or not is_constant
    for look in range(LOOKS):
        old, new = (arm.at(look, world, by_hour=by_hour) for arm in arms)
        yield Cohort(old, new, calibration_id="", tiers_by=world.tiers_by)


@dataclass(frozen=True, slots=True)
class _ArmCounts:
    """Requests, labelled ones and failures by look and tier, shape (LOOKS, 3); cluster sums by look, tier and sum."""

    requests: _Counts
    labelled: _Counts
    failures: _Counts
    clusters: _Counts

    def at(self, look: int, world: World, *, by_hour: bool) -> Arm:
        columns = [self.requests[: look + 1], self.labelled[: look + 1], self.failures[: look + 1]]
        if not by_hour:
            columns = [column.sum(axis=0, keepdims=True) for column in columns]
        strata = [
            Stratum(tier, "any", at, True, n, labelled, failures, 0.0, 0.0, block=hour)
            for hour, rows in enumerate(zip(*(column.tolist() for column in columns), strict=True))
            for at, (tier, n, labelled, failures) in enumerate(zip(TIERS, *rows, strict=True))
            if n
        ]
        clusters = _cluster_sums(self.clusters[: look + 1].sum(axis=0)) if world.session > 1 else ()
        return Arm("version", strata, clusters)

    def with_giant(self, requests: int, *, tier: int) -> _ArmCounts:
        """The same with one more conversation of *requests* failures, spread evenly over a hundred looks."""
        n = requests // 100 * np.clip(np.arange(LOOKS) - 49, 0, 100)
        sums = np.zeros((LOOKS, 3, 6), dtype=int)
        sums[:, tier] = np.diff(np.stack([n > 0, n, n, n * n, n * n, n * n], axis=1), axis=0, prepend=0)
        own, failed = self.clusters + sums, sums[:, :, 2]
        return _ArmCounts(self.requests + failed, self.labelled + failed, self.failures + failed, own)


def _arm(size: _Counts, rate: _Array, coverage: _Array, world: World, rng: np.random.Generator) -> _ArmCounts:
    if world.session > 1:
        return _sessions(size, rate, world, rng)
    requests = rng.multinomial(size, MIX)
    failures = rng.binomial(requests, rate)
    labelled_failures = rng.binomial(failures, coverage)
    return _ArmCounts(
        requests, requests - failures + labelled_failures, labelled_failures, np.zeros((LOOKS, 3, 6), dtype=int)
    )


def _sessions(size: _Counts, rate: _Array, world: World, rng: np.random.Generator) -> _ArmCounts:
    """Conversations of one tier each, with correlated failures (beta-binomial)."""
    count = rng.multinomial(np.maximum(size // world.session, rng.random(LOOKS) < size / world.session), MIX)
    look, tier = np.nonzero(np.ones_like(count))
    look, tier = np.repeat(look, count.ravel()), np.repeat(tier, count.ravel())
    spread = 1 / world.correlation - 1
    mean = rate[look, tier]
    failed = rng.binomial(world.session, rng.beta(mean * spread, (1 - mean) * spread))
    n = np.full(len(failed), world.session)
    sums = np.zeros((LOOKS, 3, 6), dtype=int)
    np.add.at(sums, (look, tier), np.stack([n // n, n, failed, n * n, n * failed, failed * failed], axis=1))
    requests, failures = sums[:, :, 1], sums[:, :, 2]
    return _ArmCounts(requests, requests, failures, sums)


def _cluster_sums(by_tier: _Counts) -> Sequence[ClusterSums]:
    return [ClusterSums(group, *by_tier[chosen].sum(axis=0).tolist()) for group, chosen in _GROUPS.items()]


def panel(rng: np.random.Generator) -> Scene:
    """300 items replayed 24 times on both arms; an item has the same outcome every time, one per arm."""
    tier = rng.choice(3, 300, p=MIX)
    failed = rng.random((2, 300)) < RATES[tier]
    order = np.concatenate([rng.permutation(300) for _ in range(24)]).reshape(LOOKS, -1)
    return Scene(_panel_cohorts(tier, failed, order))


def _panel_cohorts(tier: _Counts, failed: NDArray[np.bool_], order: _Counts) -> Iterator[Cohort]:
    for look in range(LOOKS):
        n = np.bincount(order[: look + 1].ravel(), minlength=300)
        shared, arms = [], []
        for name, fails in zip(("old", "new"), failed, strict=True):
            f = n * fails
            sums = np.stack([n > 0, n, f, n * n, n * f, f * f], axis=1)
            by_tier = np.stack([sums[tier == each].sum(axis=0) for each in range(3)])
            arms.append(Arm(name, _strata(by_tier[:, 1], by_tier[:, 2]), _cluster_sums(by_tier)))
        for group, chosen in _GROUPS.items():
            f, g, m = n * failed[0], n * failed[1], chosen[tier]
            nn, fn, ng, fg = (int((one * other)[m].sum()) for one, other in ((n, n), (f, n), (n, g), (f, g)))
            shared.append(SharedClusterSums(group, nn, fn, ng, fg))
        yield Cohort(arms[0], arms[1], "", TiersBy.DECLARED, shared_clusters=shared)


def _strata(requests: _Counts, failures: _Counts) -> Sequence[Stratum]:
    return [
        Stratum(each, "any", at, True, int(requests[at]), int(requests[at]), int(failures[at]), 0.0, 0.0)
        for at, each in enumerate(TIERS)
        if requests[at]
    ]


def class_collapse(rng: np.random.Generator) -> Scene:
    """Ten classes, of which one fails three times as often while the others improve."""
    before, after = np.full(10, 0.10), np.full(10, 0.06)
    after[0] = 0.30
    return Scene(_by_class(before, after, TiersBy.NONE, rng))


def by_class(rng: np.random.Generator) -> Scene:
    """The seed cliff with tiers from nine classes."""
    return Scene(_by_class(np.repeat(RATES, 3), np.repeat(CLIFF, 3), TiersBy.CLASS, rng, np.repeat(MIX / 3, 3)))


def _by_class(
    before: _Array, after: _Array, tiers_by: TiersBy, rng: np.random.Generator, mix: _Array | None = None
) -> Iterator[Cohort]:
    mix = np.full(len(before), 1 / len(before)) if mix is None else mix
    counts = []
    for rate in (before, after):
        requests = rng.multinomial(50, mix, LOOKS)
        counts.append((requests.cumsum(axis=0), rng.binomial(requests, rate).cumsum(axis=0)))
    for look in range(LOOKS):
        arms = [
            Arm(
                name,
                [
                    Stratum(TIERS[at // 3 % 3], f"class {at}", 0, False, n, n, f, 0.0, 0.0)
                    for at, (n, f) in enumerate(zip(requests[look].tolist(), failures[look].tolist(), strict=True))
                ],
            )
            for name, (requests, failures) in zip(("old", "new"), counts, strict=True)
        ]
        yield Cohort(arms[0], arms[1], "", tiers_by)


@dataclass(frozen=True, slots=True)
class Alone:
    """
    400 requests an hour, of which a canary gets a tenth for six hours and then all, while they have decided nothing.

    Attributes:
        beside, since: Failure rate of the candidate side by side and alone; the baseline's is 10 % all week.
    """

    beside: float
    since: float

    def play(self, rng: np.random.Generator) -> Scene:
        """One rollout, from the hour in which the days before stand in for two days."""
        return Scene(self._cohorts(rng))

    def _cohorts(self, rng: np.random.Generator) -> Iterator[Cohort]:
        baseline = np.repeat((400, 360), (168, 6))
        candidate = np.repeat((40, 400), (6, 56))
        old = Arm("old", _by_hour(baseline, rng.binomial(baseline, 0.10), first=0))
        strata = _by_hour(candidate, rng.binomial(candidate, np.repeat((self.beside, self.since), (6, 56))), first=168)
        for hours in range(6 + SPAN_HOURS + 1, len(strata) + 1):
            new = Arm("new", strata[:hours])
            yield Cohort(old, new, "", TiersBy.NONE, comparison=Comparison.BEFORE_AFTER)


def _by_hour(requests: _Counts, failures: _Counts, *, first: int) -> Sequence[Stratum]:
    return [
        Stratum(Tier.UNTIERED, "any", 0, False, n, n, failed, 0.0, 0.0, block=hour)
        for hour, (n, failed) in enumerate(zip(requests.tolist(), failures.tolist(), strict=True), start=first)
    ]


@dataclass(frozen=True, slots=True)
class Learnt:
    """
    600 items in 60/30/10, met by twelve reference versions; both arms answer some of them again.

    Attributes:
        after: Failure rate of the candidate by tier.
        spread: Standard deviation of an item's difficulty within its tier, logits.
        quirk: Standard deviation of what a reference version alone finds hard or easy, logits: noisier tags.
    """

    after: _Array
    spread: float = 0.0
    quirk: float = 0.0
    per_look: int = 50

    def play(self, rng: np.random.Generator) -> Scene:
        """One rollout under one of twenty calibrations."""
        history = _history(int(rng.integers(20)), self.spread, self.quirk)
        return Scene(_learnt_cohorts(self, history, rng), history.calibration)


@dataclass(frozen=True, slots=True)
class _History:
    tier: _Counts
    logits: _Array
    tags: Sequence[Tag]
    calibration: Calibration


@lru_cache(maxsize=64)
def _history(seed: int, spread: float, quirk: float) -> _History:
    rng = np.random.default_rng((14, seed))
    tier = np.repeat(np.arange(3), (360, 180, 60))
    logits = logit(RATES)[tier] + rng.normal(0, 1, 600) * spread
    features = [RequestFeatures(f"class {each}{at % 3}", item=f"{each} {at}") for at, each in enumerate(tier.tolist())]
    labels = []
    for version in range(12):
        rate = expit(logits + rng.uniform(-0.8, 1.2) + rng.normal(0, 1, 600) * quirk)
        failed = rng.random(600) < rate
        labels += [
            LabelledRequest(features=each, model_version=f"ref-{version}", failed=bool(bad), started_at=float(version))
            for each, bad in zip(features, failed, strict=True)
        ]
    calibration = calibrate(labels, frozen_at=12.0, settings=DifficultySettings())
    assert calibration is not None
    return _History(tier, logits, [calibration.tag(each) for each in features], calibration)


def _learnt_cohorts(world: Learnt, history: _History, rng: np.random.Generator) -> Iterator[Cohort]:
    shift = logit(world.after) - logit(RATES)
    rates = expit(history.logits), expit(history.logits + shift[history.tier])
    keys = [(tag.tier, tag.bin, tag.is_known) for tag in history.tags]
    groups = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    group = np.array([groups[key] for key in keys])
    firsts = [history.tags[keys.index(key)] for key in groups]
    columns = np.array([(tag.difficulty_logit, tag.difficulty_variance) for tag in history.tags]).T
    arms = []
    for rate in rates:
        drawn = rng.integers(600, size=(LOOKS, world.per_look))
        failed = rng.random(drawn.shape) < rate[drawn]
        weights = (np.ones(drawn.shape), failed, columns[0][drawn], columns[1][drawn])
        at = (np.arange(LOOKS)[:, None] * len(groups) + group[drawn]).ravel()
        arms.append(
            [np.bincount(at, each.ravel(), LOOKS * len(groups)).reshape(LOOKS, -1).cumsum(axis=0) for each in weights]
        )
    for look in range(LOOKS):
        baseline, candidate = (Arm("version", _tagged(firsts, [column[look] for column in arm])) for arm in arms)
        yield Cohort(baseline, candidate, history.calibration.calibration_id)


def _tagged(tags: Sequence[Tag], columns: Sequence[_Array]) -> Sequence[Stratum]:
    return [
        Stratum(tag.tier, "any", tag.bin, tag.is_known, int(n), int(n), int(failures), logits, variances)
        for tag, n, failures, logits, variances in zip(tags, *(column.tolist() for column in columns), strict=True)
        if n
    ]


def uniform_gain(rate: _Array, logits: float) -> _Array:
    """*rate* with every request's log-odds of failing lowered by *logits*."""
    lowered: _Array = expit(logit(rate) - logits)
    return lowered


def _untiered(before: float, after: float, canary: float = 0.5) -> Callable[[np.random.Generator], Scene]:
    return World(np.full(3, before), np.full(3, after), canary, per_look=25, tiers_by=TiersBy.NONE).play


_DAY = 24
_RAMP = np.repeat([0.01, 0.05, 0.25, 0.99], LOOKS // 4)
_DAY_TWO = np.where(np.arange(LOOKS) >= _DAY, 0.7, 0.0)
_CYCLE = 0.7 * np.sin(2 * np.pi * np.arange(LOOKS) / _DAY)
_LAST_WEEK = np.where(np.arange(LOOKS) < LOOKS // 2, 1e-9, 0.3)
_FEW = np.array([0.01, 0.05, 0.60])


def lines() -> Sequence[Line]:
    """Every line of the table, harmless ones first."""
    return [*_same_model(), *_uniform_gains(), *_harmful()]


def _same_model() -> Iterator[Line]:
    for canary in (0.5, 0.1, 0.01):
        yield Line(f"same model, canary {canary:.0%}", World(canary=canary).play, limit=0.03)
    for rate, today in ((0.95, "21.5 %"), (0.98, "41 %")):
        rates = np.array([0.02, 0.10, rate])
        name = f"same model, hard tier fails {rate:.0%}, canary 1 %"
        yield Line(name, World(rates, rates, 0.01).play, limit=0.03, today=today)
    for size, today in ((5, "22 %"), (10, "46 %")):
        for canary in (0.5, 0.1, 0.01):
            world = World(canary=canary, session=size, correlation=0.3)
            name = f"same model, conversations of {size}, correlation .3, canary {canary:.0%}"
            yield Line(name, world.play, limit=0.03, today=today if canary == 0.5 else "")
    for requests in (500, 2_000):
        giant = World(session=5, correlation=0.3, giant=requests)
        yield Line(f"same model, a conversation of {requests:,} failures in the candidate", giant.play, limit=0.03)
    yield Line("same model, a panel of 300 probes replayed 24 times", panel, limit=0.03, today="26 %")
    week = World(canary=np.where(_LAST_WEEK > 0.1, 0.1, 1e-9), per_look=300, harder=_LAST_WEEK)
    yield Line("same model, everybody harder since last week", week.play, limit=0.03, today="19 %")
    ramp = World(canary=_RAMP, per_look=400, harder=_DAY_TWO)
    yield Line("same model, ramp with a shift on day 2", ramp.play, limit=0.03, today="100 %")
    cycle = World(canary=_RAMP, per_look=400, harder=_CYCLE)
    yield Line("same model, daily cycle with a ramp", cycle.play, limit=0.03, today="23 %")
    alone = Alone(beside=0.10, since=0.18)
    yield Line("same model, alone after 240 requests beside, harder since", alone.play, limit=0.03)
    yield Line("same model, learnt tiers", Learnt(RATES).play, limit=0.03)


def _uniform_gains() -> Iterator[Line]:
    for gain in (0.5, 1, 2):
        name = f"uniform gain of {gain} logits"
        for canary, today in ((0.5, ""), (0.05, "6 to 8 %")):
            world = World(_FEW, uniform_gain(_FEW, gain), canary)
            yield Line(f"{name}, few easy failures, canary {canary:.0%}", world.play, limit=0.03, today=today)
        better = uniform_gain(RATES, gain)
        yield Line(f"{name}, learnt tiers", Learnt(better).play, limit=0.03)
        noisy = Learnt(better, spread=0.7, quirk=1.5, per_look=100)
        yield Line(f"{name}, real tiers (AUC .74)", noisy.play, limit=0.03)


def _harmful() -> Iterator[Line]:
    worse = World(after=np.array([0.02, 0.10, 0.70]), per_look=100)
    yield Line("hard tier 60 -> 70 %", worse.play, states=("regression",), never_ok=0.02, today="`ok` first in 99 %")
    untiered = World(np.full(3, 0.10), np.full(3, 0.156), per_look=25, tiers_by=TiersBy.NONE)
    yield Line("all 10 -> 15.6 %, no tiers", untiered.play, states=("regression",), median=900, today="never")
    alone = Alone(beside=0.20, since=0.20)
    yield Line("all 10 -> 20 %, alone after 240 requests beside", alone.play, states=("regression",), found=0.95)
    easy = World(after=np.array([0.20, 0.10, 0.60]), per_look=20)
    yield Line("easy 2 -> 20 %", easy.play, states=("regression",), median=300, today="`ok`")
    for canary, median in ((0.5, 3_200), (0.1, 1_900), (0.01, 1_800)):
        world = World(after=CLIFF, canary=canary)
        yield Line(f"seed cliff, tiers declared, canary {canary:.0%}", world.play, states=("cliff",), median=median)
    yield Line("seed cliff, tiers by class, canary 50 %", by_class, states=("cliff",), median=3_200)
    yield Line(
        "seed cliff, learnt tiers, by 8,000",
        Learnt(CLIFF, per_look=40).play,
        states=("cliff",),
        found=0.85,
        today="0 to 38 %",
    )
    yield Line(
        "seed cliff with a worse hard tier (70 %), learnt tiers, by 8,000",
        Learnt(np.array([0.01, 0.05, 0.70]), per_look=40).play,
        states=("regression",),
        found=0.85,
        today="`cliff`",
    )
    yield Line(
        "real tiers (AUC .74), excess .10, by 20,000",
        Learnt(SPREAD_CLIFF, spread=0.7, quirk=1.5, per_look=100).play,
        states=("cliff",),
        found=0.85,
        today="45 % by 40,000",
    )
    ramp = World(after=np.array([0.02, 0.10, 0.75]), canary=_RAMP, per_look=400, harder=_DAY_TWO)
    yield Line("ramp with the shift of day 2, hard 60 -> 75 %", ramp.play, states=("regression",), found=0.85)
    unlabelled = World(after=np.array([0.02, 0.10, 0.75]), coverage=np.array([1.0, 1.0, 0.8]), per_look=100)
    yield Line(
        "hard 60 -> 75 %, a fifth of its failures without label",
        unlabelled.play,
        states=("regression", "gap"),
        found=0.95,
        today="9 %",
    )
    yield Line(
        "one class of ten 10 -> 30 % while the others improve", class_collapse, states=("named",), named="class 0"
    )
