"""What the people on call will see: failures per 1,000 requests before and after, by signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.difficulty.tiers import TIERS, Tier
from monitor.rollout.cohort import Arm

_PER = 1_000.0


@dataclass(frozen=True, slots=True)
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


def arm_failures(arm: Arm) -> Mapping[Signature, int]:
    """Failures of *arm* by tier and capability; the ledger can tell failure classes beside them."""
    failures: Counter[Signature] = Counter()
    for cell in arm.cells:
        failures[Signature(cell.tier, cell.capability)] += cell.failures
    return failures


def expected_load(
    baseline: Mapping[Signature, int],
    candidate: Mapping[Signature, int],
    *,
    baseline_requests: int,
    candidate_requests: int,
) -> Sequence[SignatureLoad]:
    """
    The mix of incidents before and after, the candidate's most frequent first.

    Requests without a label are taken to fail as those with one do.

    Args:
        baseline: The baseline's failures by signature.
        candidate: The candidate's.
        baseline_requests: The baseline's labelled requests, of every tier.
        candidate_requests: The candidate's.

    Returns:
        One entry per signature met in either arm; empty while an arm has no labelled request.
    """
    if baseline_requests <= 0 or candidate_requests <= 0:
        return ()
    loads = [
        SignatureLoad(
            signature,
            baseline=_PER * baseline.get(signature, 0) / baseline_requests,
            candidate=_PER * candidate.get(signature, 0) / candidate_requests,
        )
        for signature in {**baseline, **candidate}
    ]
    return sorted(loads, key=lambda load: (-load.candidate, -load.baseline, *_names(load.signature)))


def load_by_tier(loads: Sequence[SignatureLoad]) -> Mapping[Tier, tuple[float, float]]:
    """(baseline, candidate) failures per 1,000 labelled requests of each tier, untiered last."""
    return {
        tier: (
            sum(load.baseline for load in loads if load.signature.tier is tier),
            sum(load.candidate for load in loads if load.signature.tier is tier),
        )
        for tier in (*TIERS, Tier.UNTIERED)
    }


def _names(signature: Signature) -> tuple[str, str, str]:
    return signature.tier.value, signature.capability, signature.failure_class
