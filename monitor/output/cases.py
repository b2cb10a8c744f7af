"""Cases and requests to label next as JSON, cases as a probe set, and the history of a class as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from monitor.ledger.ledger import RolloutRecord
from monitor.output.plain import Json, fields_of, iso_time, plain
from monitor.output.templating import templates_of
from monitor.rollout.cases import Case, CaseKind, Cases, by_signature
from monitor.rollout.label_plan import LabelPlan
from monitor.rollout.tracker import Rollout
from monitor.trace.model import PROBES_ENVIRONMENT


@dataclass(frozen=True, slots=True)
class TraceLinks:
    """
    Builds links to traces.

    Attributes:
        template: URL with the placeholders {trace_id}, {service}, {environment} and {model_version}; empty for no
            links.
    """

    template: str = ""

    def of(self, rollout: Rollout, trace_id: str, model_version: str) -> str | None:
        """The link to one trace of *rollout*."""
        if not self.template:
            return None
        link = self.template
        values = {"trace_id": trace_id, "model_version": model_version}
        values |= {"service": rollout.service, "environment": rollout.environment}
        for name, value in values.items():
            link = link.replace(f"{{{name}}}", quote(value, safe=""))
        return link


def cases_json(record: RolloutRecord, cases: Cases, links: TraceLinks) -> Json:
    """*cases* of a rollout, grouped by signature; `state` says whether the signature is new with the rollout."""
    rollout, states = record.rollout, record.new_failures
    return {
        "rollout": rollout.rollout_id,
        "total": cases.total,
        "shown": len(cases.cases),
        "signatures": [
            {
                **plain(signature),
                "state": plain(states.get(signature)),
                "cases": [_case(rollout, case, links) for case in group],
            }
            for signature, group in by_signature(cases.cases)
        ],
    }


def labels_json(record: RolloutRecord, plan: LabelPlan, links: TraceLinks) -> Json:
    """The requests to label next in a rollout, with links to their traces."""
    rollout = record.rollout
    labels = [{**fields_of(r), "link": links.of(rollout, r.trace_id, getattr(rollout, r.arm))} for r in plan.labels]
    return {"rollout": rollout.rollout_id, **fields_of(plan), "labels": labels}


def probe_set(rollout: Rollout, cases: Cases, links: TraceLinks) -> Iterator[Json]:
    """
    *cases* as native events, for `replay`, or for an eval harness that runs these requests again.

    The events have no outcome: they were chosen because they failed, so their outcomes would be a biased sample.
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


def class_history(capability: str, past: Sequence[tuple[RolloutRecord, Cases]], links: TraceLinks) -> str:
    """
    The history of a class as Markdown: its rates and failures in each rollout, with links to traces.

    Args:
        capability: The class.
        past: Rollouts with their cases of that class, the latest first.
        links: Builds the links.
    """
    environment = templates_of("monitor.output", lstrip_blocks=True)
    environment.filters["time"] = iso_time
    template = environment.get_template("class_history.md")
    return template.render(capability=capability, past=past, links=links, by_signature=by_signature)


def _case(rollout: Rollout, case: Case, links: TraceLinks) -> Json:
    return {
        "name": case.name,
        "kind": case.kind.value,
        "candidate": plain(case.candidate),
        "established": plain(case.established),
        "failed": _trace(rollout, case.trace_id, rollout.candidate, links),
        "failed_at": iso_time(case.started_at),
        "passed": _trace(rollout, case.passed_trace_id, case.passed_by, links),
    }


def _trace(rollout: Rollout, trace_id: str, model_version: str, links: TraceLinks) -> Json:
    return {"trace_id": trace_id, "model_version": model_version, "link": links.of(rollout, trace_id, model_version)}
