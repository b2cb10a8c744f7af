"""What an agent answers to a probe, and the event that it becomes."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field

from monitor.errors import DependencyUnreachable, UsageError
from monitor.output.plain import Json, iso_time
from monitor.probes.panel import PanelRequest, request_json
from monitor.trace.decode import decode
from monitor.trace.labels import clean_label
from monitor.trace.model import PROBES_ENVIRONMENT, InvalidRecord
from monitor.trace.outcome_policy import JUDGE
from monitor.trace.settings import Limits

_USE = ("usage", "tool_calls", "steps", "budget")


class Unanswered(DependencyUnreachable):
    """
    The agent cannot answer now, through no fault of its own: ask again with the next run.

    Attributes:
        cost_usd: What was spent all the same, USD; None where nobody knows.
        ungraded: The answer, where only its grade is missing; None where there is none.
    """

    cost_usd: float | None = 0.0
    ungraded: Json | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One answer of an agent or a grader.

    Attributes:
        result: The JSON object that it gave; empty where it is broken.
        broken: Failure class where there is no result, such as `timeout`; empty where there is one.
        detail: What a person should know of a broken one.
    """

    result: Json = field(default_factory=dict)
    broken: str = ""
    detail: str = ""

    @property
    def cost_usd(self) -> float | None:
        """What it cost, as far as it says so."""
        usage = self.result.get("usage")
        cost = _number(usage.get("cost_usd")) if isinstance(usage, dict) else None
        return cost if cost is not None and cost >= 0 else None


def question(probe: PanelRequest, model: str) -> Json:
    """What an agent is given of *probe*: nothing that is known of its difficulty or its right answer."""
    features = probe.candidate.features
    asked = {} if probe.request is None else request_json(probe.request)
    return {"request_id": features.item, "capability": features.capability, "model": model, "request": asked}


def outcome(result: Json, success_field: str) -> Json | None:
    """
    The outcome that *result* tells in its field *success_field*; None where it does not.

    Only true, false, 1 and 0 are answers: whatever else is there is unknown, which is no success.
    """
    success = result.get(success_field)
    if not isinstance(success, bool | int | float) or success not in {0, 1}:
        return None
    failure_class = None if success else clean_label(str(result.get("failure_class") or ""))
    told = {"failure_class": failure_class, "score": _number(result.get("score"))}
    return {
        "success": bool(success),
        "source": JUDGE,
        **{name: each for name, each in told.items() if each is not None},
    }


def event(asked: Json, labels: Json, result: Json, told: Json | None, *, started_at: float, ended_at: float) -> Json:
    """
    The native event of one answer, without its text.

    Args:
        asked: The question.
        labels: `service` and `model_version`.
        result: What was answered; what it says of its use is left out where the contract does not allow it.
        told: The outcome, if anybody knows it.
        started_at: When it was asked, Unix seconds.
        ended_at: When the answer was there, Unix seconds.

    Raises:
        UsageError: the panel's request itself breaks the contract.
    """
    of_run = json.dumps([labels, asked["request_id"], started_at])
    needed = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": hashlib.blake2b(of_run.encode(), digest_size=16).hexdigest(),
        "environment": PROBES_ENVIRONMENT,
        **labels,
        **{name: asked[name] for name in ("capability", "request_id", "request")},
        "started_at": iso_time(started_at),
        "ended_at": iso_time(ended_at),
        **({} if told is None else {"outcome": told}),
    }
    for each in (needed | {name: result[name] for name in _USE if name in result}, needed):
        with suppress(InvalidRecord):
            if decode(json.dumps(each).encode(), Limits()).traces:
                return each
    raise UsageError(f"Probe {asked['request_id']} breaks the event contract; check its line in the panel.")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
