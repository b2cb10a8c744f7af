"""Cases as JSON, and as a probe set: one shape for the HTTP interface and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict
from urllib.parse import quote

from monitor.output.rollouts import iso_time
from monitor.rollout.cases import Case, CaseKind, Cases, by_signature
from monitor.rollout.tracker import Rollout
from monitor.trace.model import PROBES_ENVIRONMENT


class RunsJson(TypedDict):
    """Labelled runs."""

    requests: int
    failures: int


class TraceJson(TypedDict):
    """One run; *link* is null where no template is configured."""

    trace_id: str
    model_version: str
    link: str | None


class CaseJson(TypedDict):
    """What established versions passed and the candidate fails."""

    name: str
    kind: str
    candidate: RunsJson
    established: RunsJson
    failed: TraceJson
    failed_at: str
    passed: TraceJson


class SignatureCasesJson(TypedDict):
    """Cases of one signature; *failure_class* is empty where nobody told it."""

    tier: str
    capability: str
    failure_class: str
    cases: list[CaseJson]


class CasesJson(TypedDict):
    """Cases of one rollout, the largest group first; *total* counts also those beyond the limit."""

    rollout: str
    total: int
    shown: int
    signatures: list[SignatureCasesJson]


@dataclass(frozen=True, slots=True)
class TraceLinks:
    """
    Links to where traces are looked at.

    Attributes:
        template: URL with {trace_id}, {service}, {environment} and {model_version} to fill in; empty for no links.
    """

    template: str = ""

    def of(self, rollout: Rollout, trace_id: str, model_version: str) -> str | None:
        """The link to one trace of *rollout*."""
        if not self.template:
            return None
        link = self.template
        values = {
            "trace_id": trace_id,
            "service": rollout.service,
            "environment": rollout.environment,
            "model_version": model_version,
        }
        for name, value in values.items():
            link = link.replace(f"{{{name}}}", quote(value, safe=""))
        return link


def cases_json(rollout: Rollout, cases: Cases, links: TraceLinks) -> CasesJson:
    """*cases* of *rollout*, grouped by signature."""
    return {
        "rollout": rollout.rollout_id,
        "total": cases.total,
        "shown": len(cases.cases),
        "signatures": [
            {
                "tier": signature.tier.value,
                "capability": signature.capability,
                "failure_class": signature.failure_class,
                "cases": [_case(rollout, case, links) for case in group],
            }
            for signature, group in by_signature(cases.cases)
        ],
    }


def probe_set(rollout: Rollout, cases: Cases, links: TraceLinks) -> Iterator[dict[str, Any]]:
    """
    *cases* as native events, for `replay` and for an eval harness that asks these requests again.

    They have no outcome: chosen because they failed, the runs behind them are no fair sample of anything.
    """
    for signature, group in by_signature(cases.cases):
        for case in group:
            event = {
                "schema": "cliffwatch.trace/v1",
                "trace_id": case.trace_id,
                "service": rollout.service,
                "environment": PROBES_ENVIRONMENT,
                "model_version": rollout.candidate,
                "capability": signature.capability,
                "started_at": iso_time(case.started_at),
                "case": {
                    "tier": signature.tier.value,
                    "failure_class": signature.failure_class,
                    **_case(rollout, case, links),
                },
            }
            if case.kind is CaseKind.REQUEST:
                event["request_id"] = case.name
            yield event


def _case(rollout: Rollout, case: Case, links: TraceLinks) -> CaseJson:
    return {
        "name": case.name,
        "kind": case.kind.value,
        "candidate": {"requests": case.candidate.requests, "failures": case.candidate.failures},
        "established": {"requests": case.established.requests, "failures": case.established.failures},
        "failed": _trace(rollout, case.trace_id, rollout.candidate, links),
        "failed_at": iso_time(case.started_at),
        "passed": _trace(rollout, case.passed_trace_id, case.passed_by, links),
    }


def _trace(rollout: Rollout, trace_id: str, model_version: str, links: TraceLinks) -> TraceJson:
    return {
        "trace_id": trace_id,
        "model_version": model_version,
        "link": links.of(rollout, trace_id, model_version),
    }
