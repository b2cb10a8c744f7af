"""Simulated rollouts whose labels are missing, late, one-sided or wrong, with the right result for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from bench.verdict_lines import CLIFF, LOOKS, MIX, RATES, TIERS, Line, Scene
from monitor.labels.delay import label_delays, slowest
from monitor.labels.source_verdicts import PatternCount
from monitor.rollout.cohort import Arm, Cohort, Stratum, TiersBy

_Array = NDArray[np.float64]
_Counts = NDArray[np.int64]

WITHOUT_ERROR = "seed cliff, labels without error"
_LATE = 72  # hours until failures are labelled
_HOURS_PER_LOOK = 3


@dataclass(frozen=True, slots=True)
class Labels:
    """
    How the runs of one arm get their labels.

    Attributes:
        false_failure, false_success: Share of good answers that the judge fails, and of bad ones that it passes.
        people: Share of the runs that people label and the judge does not.
        judged: Share of the other runs that the judge looks at.
        audited: Share of those that people check.
        errors: Share of the failures that end in an error, which a check sees in every run.
        down: Share of the failures that somebody reports; 0 with a judge.
        unlabelled: Share of the hard tier's failures that time out and get no verdict.
    """

    false_failure: float = 0.0
    false_success: float = 0.0
    people: float = 0.0
    judged: float = 1.0
    audited: float = 0.0
    errors: float = 0.0
    down: float = 0.0
    unlabelled: float = 0.0


@dataclass(frozen=True, slots=True)
class LabelWorld:
    """A rollout whose true failure rates by tier are known, and how each arm is labelled."""

    after: _Array = field(default_factory=RATES.copy)
    before: _Array = field(default_factory=RATES.copy)
    baseline: Labels = Labels()
    candidate: Labels = Labels()
    per_look: int = 100

    def play(self, rng: np.random.Generator) -> Scene:
        """One rollout, both arms side by side."""
        return Scene(_cohorts(self, rng))


def _cohorts(world: LabelWorld, rng: np.random.Generator) -> Iterator[Cohort]:
    arms = []
    truth, verdicts = rng.spawn(2)  # the same requests fail, whichever labels they get
    for rate, labels in ((world.before, world.baseline), (world.after, world.candidate)):
        requests = truth.multinomial(world.per_look, MIX, LOOKS)
        arms.append(_by_pattern(requests, truth.binomial(requests, rate), labels, verdicts))
    for look in range(LOOKS):
        old, new = (
            Arm(name, _strata({pattern: counts[look] for pattern, counts in arm.items()}))
            for name, arm in zip(("old", "new"), arms, strict=True)
        )
        yield Cohort(old, new, "", TiersBy.DECLARED)


def _by_pattern(requests: _Counts, failures: _Counts, labels: Labels, rng: np.random.Generator) -> dict[str, _Counts]:
    """Requests by verdict pattern, up to each look, by tier; shape (LOOKS, 3) each."""
    unlabelled = rng.binomial(failures, [0.0, 0.0, labels.unlabelled])
    errors = rng.binomial(failures - unlabelled, labels.errors)
    bad, good = failures - unlabelled - errors, requests - failures
    by_pattern = {"": unlabelled, "f---": errors}
    for truth, runs, mistaken in (("p", good, labels.false_failure), ("f", bad, labels.false_success)):
        if labels.down:
            reported = rng.binomial(runs, labels.down if truth == "f" else 0.0)
            by_pattern["pf--"], by_pattern["p---"] = reported, by_pattern.get("p---", 0) + runs - reported
            continue
        by_pattern[f"p--{truth}"] = by_people = rng.binomial(runs, labels.people)
        others = runs - by_people
        judged = rng.binomial(others, labels.judged)
        wrong = rng.binomial(judged, mistaken)
        by_pattern["p---"] = by_pattern.get("p---", 0) + others - judged
        for verdict, number in (("p" if truth == "f" else "f", wrong), (truth, judged - wrong)):
            audited = rng.binomial(number, labels.audited)
            by_pattern[f"p-{verdict}{truth}"] = audited
            by_pattern[f"p-{verdict}-"] = by_pattern.get(f"p-{verdict}-", 0) + number - audited
    return {pattern: np.asarray(counts).cumsum(axis=0) for pattern, counts in by_pattern.items()}


def _strata(by_pattern: dict[str, _Counts]) -> Sequence[Stratum]:
    strata = []
    for at, tier in enumerate(TIERS):
        counts = [_count(pattern, int(numbers[at])) for pattern, numbers in by_pattern.items() if numbers[at]]
        requests, labelled, failures = np.array([each[1:4] for each in counts], dtype=int).reshape(-1, 3).sum(axis=0)
        if requests:
            numbers = int(requests), int(labelled), int(failures)
            strata.append(Stratum(tier, "any", at, True, *numbers, 0.0, 0.0, by_pattern=counts))
    return strata


def _count(pattern: str, requests: int) -> PatternCount:
    verdicts = pattern.replace("-", "")
    labelled, failed = requests * bool(verdicts), requests * (verdicts[-1:] == "f")
    sampled, audited = requests * bool(pattern[1:].strip("-")), requests * (pattern[3:] not in {"", "-"})
    return PatternCount(pattern, requests, labelled, failed, sampled, sampled, audited, audited)


@dataclass(frozen=True, slots=True)
class ShiftWorld:
    """The same model in both arms, and a judge that another one replaces at half time; one look is an hour."""

    before: Labels
    after: Labels
    per_look: int = 100

    def play(self, rng: np.random.Generator) -> Scene:
        """One rollout, both arms side by side."""
        return Scene(self._cohorts(rng))

    def _cohorts(self, rng: np.random.Generator) -> Iterator[Cohort]:
        arms = []
        for _ in ("old", "new"):
            requests = rng.multinomial(self.per_look, MIX, LOOKS)
            failures = rng.binomial(requests, RATES)
            hours: list[Sequence[Stratum]] = []
            for half, labels in ((slice(LOOKS // 2), self.before), (slice(LOOKS // 2, LOOKS), self.after)):
                by_pattern = _by_pattern(requests[half], failures[half], labels, rng)
                by_hour = {pattern: np.diff(counts, axis=0, prepend=0) for pattern, counts in by_pattern.items()}
                for hour in range(LOOKS // 2):
                    strata = _strata({pattern: counts[hour] for pattern, counts in by_hour.items()})
                    hours.append([structs.replace(each, block=len(hours)) for each in strata])
            arms.append(hours)
        for look in range(LOOKS):
            old, new = (Arm(name, [*chain(*arm[: look + 1])]) for name, arm in zip(("old", "new"), arms, strict=True))
            yield Cohort(old, new, "", TiersBy.DECLARED)


@dataclass(frozen=True, slots=True)
class LateWorld:
    """Successes are labelled at once, failures after three days, which is learnt; one look is three hours."""

    after: _Array
    per_look: int = 150

    def play(self, rng: np.random.Generator) -> Scene:
        """One rollout, whose requests count once they are as old as the maturity."""
        return Scene(self._cohorts(rng))

    def _cohorts(self, rng: np.random.Generator) -> Iterator[Cohort]:
        arms = []
        for rate in (RATES, self.after):
            requests = rng.multinomial(self.per_look, MIX, LOOKS)
            failures = rng.binomial(requests, rate)
            arms.append((requests.cumsum(axis=0), failures.cumsum(axis=0)))
        for look in range(LOOKS):
            labelled = look - _LATE // _HOURS_PER_LOOK
            counted = look - _learnt_maturity(arms[0][1].sum(axis=1), look) // _HOURS_PER_LOOK
            old, new = (
                Arm(name, _late(arm, counted, labelled)) for name, arm in zip(("old", "new"), arms, strict=True)
            )
            yield Cohort(old, new, "", TiersBy.DECLARED)


def _learnt_maturity(failures: _Counts, look: int) -> int:
    """Hours after which labels are learnt to have come, from *failures* up to each look."""
    times = [
        ("judge", False, float(_LATE), float(_HOURS_PER_LOOK * (look - at)))
        for at, number in enumerate(np.diff(failures, prepend=0)[: max(0, look - _LATE // _HOURS_PER_LOOK + 1)])
        for _ in range(number)
    ]
    waits_for = slowest(label_delays(times))
    return int(waits_for.seconds) if waits_for else 0


def _late(arm: tuple[_Counts, _Counts], counted: int, labelled: int) -> Sequence[Stratum]:
    requests, failures = arm
    labelled_failures = failures[min(counted, labelled)] if labelled >= 0 else np.zeros(3, dtype=int)
    unlabelled = failures[counted] - labelled_failures
    return _strata({"--p-": requests[counted] - failures[counted], "--f-": labelled_failures, "": unlabelled})


def lines() -> Sequence[Line]:
    """Every line, harmless ones first."""
    return [*_harmless(), *_cliffs(), *_harmful(), *_shifts(), *_one_judged()]


def _harmless() -> Iterator[Line]:
    checked = Labels(audited=0.1)
    lenient = LabelWorld(baseline=replace(checked, false_success=0.3), candidate=checked)
    yield Line("lenient judge in the baseline, a tenth audited", lenient.play, limit=0.03, today="78.5 %")
    for errors, today in ((0.0, "99.8 %"), (0.3, "")):
        part = LabelWorld(baseline=Labels(judged=0.05, errors=errors), candidate=Labels(judged=0.10, errors=errors))
        name = "judge on 5 % of the baseline and 10 % of the candidate"
        yield Line(
            name + (f", {errors:.0%} of failures are errors" if errors else ""), part.play, limit=0.03, today=today
        )
    wrong = replace(checked, false_failure=0.03, false_success=0.05)
    yield Line(
        "same model, judge errs alike, a tenth audited", LabelWorld(baseline=wrong, candidate=wrong).play, limit=0.03
    )


def _cliffs() -> Iterator[Line]:
    for percent, found, today in ((0, 0.9, ""), (1, 0.9, ""), (2, 0.9, ""), (3, 0.9, "19 %"), (5, 0.8, "1.5 %")):
        labels = Labels(false_failure=percent / 100, audited=0.1)
        world = LabelWorld(after=CLIFF, baseline=labels, candidate=labels)
        name = f"seed cliff, judge fails {percent} % of good answers, a tenth audited"
        yield Line(name, world.play, states=("cliff",), found=found, today=today, draws=WITHOUT_ERROR)
    yield Line(WITHOUT_ERROR, LabelWorld(after=CLIFF).play, states=("cliff",), draws=WITHOUT_ERROR)


def _harmful() -> Iterator[Line]:
    worse = np.array([0.02, 0.10, 0.75])
    late = LateWorld(worse)
    yield Line(
        "failures labelled after 72 h, hard 60 -> 75 %", late.play, states=("regression",), found=0.85, today="6.5 %"
    )
    timeouts = LabelWorld(after=worse, candidate=Labels(unlabelled=0.2))
    yield Line(
        "a fifth of the hard failures time out, hard 60 -> 75 %",
        timeouts.play,
        states=("regression", "gap"),
        found=0.95,
        today="9 %",
    )
    for share in (0.1, 0.5):
        thumbs = LabelWorld(after=worse, baseline=Labels(down=share), candidate=Labels(down=share))
        yield Line(
            f"thumbs-down only, on {share:.0%} of failures",
            thumbs.play,
            states=("gap",),
            found=1.0,
            never_ok=0.0,
            today="`ok`",
        )


def _shifts() -> Iterator[Line]:
    judge = Labels(false_failure=0.03, false_success=0.05, audited=0.1)
    alike, name = ShiftWorld(judge, judge), "same model, judge errs alike at all hours, a tenth audited"
    yield Line(f"{name}: said to have moved", alike.play, limit=0.03, states=("moved",))
    yield Line(name, alike.play, limit=0.03)
    strict, lenient = replace(judge, false_failure=0.09), replace(judge, false_success=0.6)
    name = "judge fails 3 % of good answers, 9 % from half time on: said to have moved"
    yield Line(name, ShiftWorld(judge, strict).play, states=("moved",), found=0.9)
    name = "judge passes 5 % of bad answers, 60 % from half time on"
    yield Line(f"{name}: said to have moved", ShiftWorld(judge, lenient).play, states=("moved",), found=0.9)
    yield Line(f"{name}, same model", ShiftWorld(judge, lenient).play, limit=0.03)


def _one_judged() -> Iterator[Line]:
    strict, people = Labels(false_failure=0.10), Labels(people=1.0)
    null = LabelWorld(baseline=people, candidate=strict)
    yield Line(
        "people label the baseline, a judge that fails 10 % of good answers the candidate", null.play, limit=0.03
    )
    more = LabelWorld(baseline=replace(strict, people=0.10), candidate=replace(strict, people=0.01))
    name = (
        "people label 10 % of the baseline and 1 % of the candidate, a judge that fails 10 % of good answers the rest"
    )
    yield Line(name, more.play, limit=0.03)
    apart = LabelWorld(np.array([0.20, 0.30, 0.75]), baseline=Labels(people=1.0), candidate=Labels(false_failure=0.05))
    name = "easy 2 -> 20 %, medium 10 -> 30 %, hard 60 -> 75 %, people label the baseline, a judge the candidate"
    yield Line(name, apart.play, states=("regression", "gap"), found=0.95)
