"""Finds the kinds of failures that a rollout introduced, and whether those of earlier rollouts still occur."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from monitor.rollout.cohort import ArmName, Cohort
from monitor.rollout.confidence_sequence import Counts, rise_log_e_value
from monitor.rollout.multiplicity import closed_e_bh
from monitor.rollout.oncall import NewFailure, OnCallLoad, Signature
from monitor.trace.grouping import added_up


def new_failures(
    cohort: Cohort,
    classes: tuple[Mapping[Signature, int], Mapping[Signature, int]],
    *,
    effects: Mapping[ArmName, float],
    earlier: Iterable[OnCallLoad],
    level: float,
) -> Mapping[Signature, NewFailure]:
    """
    Signatures that are more frequent than in the baseline, and those that *earlier* rollouts introduced.

    Each signature is compared within the requests of its tier and class, so that a change of the traffic mix adds none.
    Closed e-BH corrects for testing several signatures, at any look. The result shows people where to look; the verdict
    does not use it.

    Args:
        cohort: Matured requests of both arms.
        classes: Failures of baseline and candidate by signature.
        effects: Design effect of each arm, at least 1.
        earlier: Final load of earlier rollouts of the same service and environment.
        level: Largest expected share of false signatures among those called new, in (0, 1).
    """
    arms = zip(ArmName, cohort.arms, strict=True)
    labelled = added_up(((name, s.tier, s.capability), s.labelled) for name, arm in arms for s in arm.strata)
    evidence, after = {}, classes[1]
    for new in after:
        counts = [
            Counts(labelled[name, new.tier, new.capability], failures.get(new, 0)).shrunk(effects.get(name, 1.0))
            for name, failures in zip(ArmName, classes, strict=True)
        ]
        if all(arm.requests for arm in counts):
            evidence[new] = rise_log_e_value(*counts)
    states = dict.fromkeys(closed_e_bh(evidence, level=level), NewFailure.OPEN)
    known = {old for load in earlier for old, state in load.states.items() if state is not NewFailure.GONE}
    return states | {old: NewFailure.SEEN_AGAIN if old in after else NewFailure.GONE for old in known}
