"""Which kinds of failures a rollout brought, and what became of those that earlier rollouts brought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import ArmName, Cohort
from monitor.rollout.confidence_sequence import Counts, rise_log_e_value
from monitor.rollout.multiplicity import closed_e_bh
from monitor.rollout.oncall import NewFailure, OnCallLoad, Signature


def new_failures(
    cohort: Cohort,
    classes: tuple[Mapping[Signature, int], Mapping[Signature, int]],
    *,
    effects: Mapping[ArmName, float],
    earlier: Iterable[OnCallLoad],
    level: float,
) -> Mapping[Signature, NewFailure]:
    """
    Signatures that are shown to be more frequent than in the baseline, and those that *earlier* rollouts brought.

    Each is compared among the requests of its tier and class, so that a change of the traffic mix brings nothing. The
    evidence of all signatures is believed together (closed e-BH), at any look. It routes people to what is new; the
    verdict does not rest on it.

    Args:
        cohort: Matured requests of both arms.
        classes: Failures of baseline and candidate by signature.
        effects: Design effect of each arm, at least 1.
        earlier: What earlier rollouts of the same service and environment brought in the end.
        level: Largest expected share of signatures that are called new and are not, in (0, 1).
    """
    labelled = Counter[tuple[ArmName, Tier, str]]()
    for name, arm in zip(ArmName, cohort.arms, strict=True):
        for stratum in arm.strata:
            labelled[name, stratum.tier, stratum.capability] += stratum.labelled
    evidence, after = {}, classes[1]
    for each in after:
        arms = [
            Counts(labelled[name, each.tier, each.capability], failures.get(each, 0)).shrunk(effects.get(name, 1.0))
            for name, failures in zip(ArmName, classes, strict=True)
        ]
        if all(arm.requests for arm in arms):
            evidence[each] = rise_log_e_value(*arms)
    states = dict.fromkeys(closed_e_bh(evidence, level=level), NewFailure.OPEN)
    known = {each for load in earlier for each, state in load.states.items() if state is not NewFailure.GONE}
    return states | {each: NewFailure.SEEN_AGAIN if each in after else NewFailure.GONE for each in known}
