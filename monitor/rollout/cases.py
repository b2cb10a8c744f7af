"""Cases: requests that established versions passed and the candidate fails, in every tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from monitor.rollout.cohort import Runs
from monitor.rollout.oncall import Signature
from monitor.trace.grouping import grouped


class CaseKind(StrEnum):
    """Whether a case is one repeated request or a family of similar requests."""

    REQUEST = "request"
    FAMILY = "family"


@dataclass(frozen=True, slots=True)
class Case:
    """
    A request or family that most runs of established versions passed and most runs of the candidate fail.

    Attributes:
        name: The `request_id`, or the hash of the family's text.
        trace_id: The candidate's latest failed run.
        started_at: Start of that run, Unix seconds.
        candidate: Labelled runs of the candidate.
        established: Labelled runs of the versions that passed it: the baseline, or others where it never served it.
        passed_trace_id: The latest run that passed.
        passed_by: The model version of that run.
    """

    name: str
    kind: CaseKind
    signature: Signature
    trace_id: str
    started_at: float
    candidate: Runs
    established: Runs
    passed_trace_id: str
    passed_by: str


@dataclass(frozen=True, slots=True)
class Cases:
    """Cases of one rollout, those that fail most often first; *total* counts also those beyond the limit."""

    total: int
    cases: Sequence[Case]


def by_signature(cases: Sequence[Case]) -> Sequence[tuple[Signature, Sequence[Case]]]:
    """*cases* grouped by tier, capability and failure class, the largest group first."""
    groups = grouped(cases, lambda case: case.signature)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0].capability, group[0].failure_class))
