"""What the people on call will see: failures per 1,000 requests before and after, by signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from monitor.difficulty.tiers import TIERS, Tier
from monitor.rollout.cohort import Arm, Cohort
from monitor.rollout.policy import Severity

_PER = 1_000.0

SIGNATURES_SHOWN = 20
"""How many signatures a verdict tells: more than anybody routes by, and few enough for every answer."""


@dataclass(frozen=True, slots=True, order=True)
class Signature:
    """What incidents have in common; *failure_class* is empty where it is not told."""

    tier: Tier
    capability: str
    failure_class: str = ""


@dataclass(frozen=True, slots=True)
class SignatureLoad:
    """Failures per 1,000 labelled requests of all kinds, in both arms."""

    signature: Signature
    baseline: float
    candidate: float


@dataclass(frozen=True, slots=True)
class OnCallLoad:
    """
    Failures per 1,000 labelled requests of all kinds, (baseline, candidate).

    Attributes:
        total: All tiers together.
        tiers: One entry per tier, untiered last; they add up to *total*.
        signatures: The candidate's most frequent signatures; at most so many as were asked for.
        weighted: As *total*, each failure counted as often as the severity of its class says; None without severities.
    """

    total: tuple[float, float]
    tiers: Mapping[Tier, tuple[float, float]]
    signatures: Sequence[SignatureLoad]
    weighted: tuple[float, float] | None = None


def arm_failures(arm: Arm) -> Mapping[Signature, int]:
    """Failures of *arm* by tier and capability; the ledger can tell failure classes beside them."""
    failures: Counter[Signature] = Counter()
    for stratum in arm.strata:
        failures[Signature(stratum.tier, stratum.capability)] += stratum.failures
    return failures


def expected_load(
    failures: tuple[Mapping[Signature, int], Mapping[Signature, int]], requests: tuple[int, int]
) -> Sequence[SignatureLoad]:
    """
    The mix of incidents before and after, the candidate's most frequent first.

    Requests without a label are taken to fail as those with one do.

    Args:
        failures: By signature, of baseline and candidate.
        requests: Labelled requests of every tier, likewise.

    Returns:
        One entry per signature met in either arm; empty while an arm has no labelled request.
    """
    if min(requests) <= 0:
        return ()
    loads = [
        SignatureLoad(signature, *(_PER * arm.get(signature, 0) / n for arm, n in zip(failures, requests, strict=True)))
        for signature in {**failures[0], **failures[1]}
    ]
    return sorted(loads, key=lambda load: (-load.candidate, -load.baseline, load.signature))


def load_by_tier(loads: Sequence[SignatureLoad]) -> Mapping[Tier, tuple[float, float]]:
    """(baseline, candidate) failures per 1,000 labelled requests of each tier, untiered last."""
    return {tier: _total(load for load in loads if load.signature.tier is tier) for tier in (*TIERS, Tier.UNTIERED)}


def on_call_load(
    cohort: Cohort,
    classes: tuple[Mapping[Signature, int], Mapping[Signature, int]],
    *,
    severities: Sequence[Severity] = (),
    limit: int = SIGNATURES_SHOWN,
) -> OnCallLoad | None:
    """
    What each arm brings the people on call.

    Args:
        cohort: Matured requests of both arms.
        classes: Failures of baseline and candidate by whole signature.
        severities: What failures cost by class; of two for one class the last counts.
        limit: How many signatures are told.

    Returns:
        None while an arm has no labelled request.
    """
    arms = (cohort.baseline, cohort.candidate)
    requests = (arms[0].labelled, arms[1].labelled)
    if not all(requests):
        return None
    loads = expected_load((arm_failures(arms[0]), arm_failures(arms[1])), requests)
    weights = {each.capability: each.weight for each in severities}
    return OnCallLoad(
        total=_total(loads),
        tiers=load_by_tier(loads),
        signatures=tuple(expected_load(classes, requests)[:limit]),
        weighted=_total(loads, weights) if severities else None,
    )


def weighed(load: OnCallLoad | None) -> Iterator[str]:
    """What severities say beside the plain counts, in words."""
    if load is not None and load.weighted is not None:
        before, after = load.weighted
        yield (
            f"Weighted by severity, failures per 1,000 requests go from {before:,.1f} to {after:,.1f} "
            f"(plain: {load.total[0]:,.1f} to {load.total[1]:,.1f}); the verdict counts every failure once."
        )


def _total(loads: Iterable[SignatureLoad], weights: Mapping[str, float] = MappingProxyType({})) -> tuple[float, float]:
    """Of both arms, each failure counted as often as *weights* say of its capability."""
    counted = [(weights.get(load.signature.capability, 1.0), load) for load in loads]
    return sum(weight * each.baseline for weight, each in counted), sum(
        weight * each.candidate for weight, each in counted
    )
