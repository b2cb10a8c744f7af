"""The load on the people on call: failures per 1,000 requests before and after, by signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from monitor.difficulty.tiers import HARD_TIER, TIERS, Tier
from monitor.rollout.cohort import Arm, Cohort
from monitor.rollout.policy import Severity
from monitor.trace.grouping import added_up

_PER = 1_000.0

SIGNATURES_SHOWN = 20
"""Signatures that a verdict holds: more than people use to route incidents, and few enough for every response."""


@dataclass(frozen=True, slots=True, order=True)
class Signature:
    """What groups failures into incidents; *failure_class* is empty if it is unknown."""

    tier: Tier
    capability: str
    failure_class: str = ""


class NewFailure(StrEnum):
    """State of a signature that a rollout introduced, in the order of the list."""

    OPEN = "open"
    """This rollout introduced it: it is more frequent than in the baseline."""

    SEEN_AGAIN = "seen again"
    """An earlier rollout introduced it, and the candidate has it too."""

    GONE = "gone"
    """An earlier rollout introduced it, and the candidate has no such failure so far."""


@dataclass(frozen=True, slots=True)
class SignatureLoad:
    """Failures per 1,000 labelled requests of all kinds; *state* is None if no rollout introduced the signature."""

    signature: Signature
    baseline: float
    candidate: float
    state: NewFailure | None = None


class Load(NamedTuple):
    """Failures per 1,000 labelled requests of all kinds, of each arm."""

    baseline: float
    candidate: float


@dataclass(frozen=True, slots=True)
class OnCallLoad:
    """
    What the arms put on the people on call.

    Attributes:
        total: All tiers together.
        tiers: One entry per tier, untiered last; they sum to *total*.
        signatures: New signatures, the hard tier first, then the candidate's most frequent ones; limited in number.
        weighted: As *total*, each failure weighted by the severity of its class; None without severities.
    """

    total: Load
    tiers: Mapping[Tier, Load]
    signatures: Sequence[SignatureLoad]
    weighted: Load | None = None

    @property
    def states(self) -> Mapping[Signature, NewFailure]:
        """State of the signatures that this rollout or an earlier one introduced."""
        return {each.signature: each.state for each in self.signatures if each.state is not None}


def arm_failures(arm: Arm) -> Mapping[Signature, int]:
    """Failures of *arm* by tier and capability, without failure classes, which only the ledger knows."""
    return added_up((Signature(stratum.tier, stratum.capability), stratum.failures) for stratum in arm.strata)


def expected_load(
    failures: tuple[Mapping[Signature, int], Mapping[Signature, int]], requests: tuple[int, int]
) -> Sequence[SignatureLoad]:
    """
    Failures per 1,000 requests by signature, the candidate's most frequent first.

    This assumes that unlabelled requests fail as often as labelled ones.

    Args:
        failures: Failures by signature, of baseline and candidate.
        requests: Labelled requests of baseline and candidate, in all tiers; at least one each.

    Returns:
        One entry per signature that occurs in either arm.
    """
    before, after = (
        {name: _PER * failed / n for name, failed in arm.items()} for arm, n in zip(failures, requests, strict=True)
    )
    loads = [SignatureLoad(name, before.get(name, 0.0), after.get(name, 0.0)) for name in {**before, **after}]
    return sorted(loads, key=lambda load: (-load.candidate, -load.baseline, load.signature))


def on_call_load(
    cohort: Cohort,
    classes: tuple[Mapping[Signature, int], Mapping[Signature, int]],
    *,
    new: Mapping[Signature, NewFailure] | None = None,
    severities: Sequence[Severity] = (),
    limit: int = SIGNATURES_SHOWN,
) -> OnCallLoad | None:
    """
    The load of both arms on the people on call.

    Args:
        cohort: Matured requests of both arms.
        classes: Failures of baseline and candidate by signature with failure class.
        new: Signatures that this rollout or an earlier one introduced.
        severities: Cost of a failure by class; of two for one class the last counts.
        limit: Most signatures to list.

    Returns:
        None while an arm has no labelled request.
    """
    arms, requests = cohort.arms, (cohort.baseline.labelled, cohort.candidate.labelled)
    if not all(requests):
        return None
    loads = expected_load((arm_failures(arms[0]), arm_failures(arms[1])), requests)
    weights = {each.capability: each.weight for each in severities}
    states, (before, after) = new or {}, classes
    by_signature = [
        replace(load, state=states.get(load.signature))
        for load in expected_load((before, dict.fromkeys(states, 0) | dict(after)), requests)
    ]
    return OnCallLoad(
        total=_total(loads),
        tiers={tier: _total(each for each in loads if each.signature.tier is tier) for tier in (*TIERS, Tier.UNTIERED)},
        signatures=tuple(sorted(by_signature, key=_place)[:limit]),
        weighted=_total(loads, weights) if severities else None,
    )


def weighed(load: OnCallLoad | None) -> Iterator[str]:
    """A sentence about the load weighted by severity, if there are severities."""
    if load is not None and load.weighted is not None:
        before, after = load.weighted
        yield (
            f"Weighted by severity, failures per 1,000 requests go from {before:,.1f} to {after:,.1f} "
            f"(plain: {load.total[0]:,.1f} to {load.total[1]:,.1f}); the verdict counts every failure once."
        )


def _total(loads: Iterable[SignatureLoad], weights: Mapping[str, float] = MappingProxyType({})) -> Load:
    """Sums of both arms, each failure weighted by its capability; 1 without a weight."""
    weighted = [(weights.get(load.signature.capability, 1.0), load) for load in loads]
    return Load(sum(w * each.baseline for w, each in weighted), sum(w * each.candidate for w, each in weighted))


def _place(load: SignatureLoad) -> tuple[int, bool]:
    """Sort key: new signatures first, the hard tier before the others; the rest keeps its order."""
    if load.state is None:
        return len(NewFailure), False
    return list(NewFailure).index(load.state), load.signature.tier not in HARD_TIER
