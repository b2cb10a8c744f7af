"""Reads Langfuse scores: one score, an array, a page of its API, an event that creates one, or a batch of events."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from monitor.trace.model import TraceId, joining_id
from monitor.trace.outcome_policy import HUMAN, JUDGE, Evaluation
from monitor.trace.values import chance, number, seconds

_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_LONGEST_NAME = 256


def evaluations_of(document: Any) -> list[Evaluation] | None:
    """Evaluations in *document*, in order; None if it holds no Langfuse scores."""
    if isinstance(document, dict):
        document = next((document[key] for key in ("batch", "data") if isinstance(document.get(key), list)), [document])
    if not isinstance(document, list):
        return None
    scores = [score for part in document if (score := _score(part)) is not None]
    return [_evaluation(score) for score in scores] or None


def _score(part: Any) -> Mapping[str, Any] | None:
    if not isinstance(part, dict):
        return None
    body = part.get("body")
    if part.get("type") == "score-create" and isinstance(body, dict):
        # The time of the event is when the score was last written; the body has the time of the first version.
        part = {"updatedAt": part.get("timestamp"), **body}
    if isinstance(subject := part.get("subject"), dict):  # the subject may also be a session or a dataset run
        about = {f"{subject.get('kind')}Id": subject.get("id"), **subject}
        part = {**part, **{name: about[name] for name in ("traceId", "observationId") if about.get(name)}}
    has_value = isinstance(part.get("name"), str) and ("value" in part or "stringValue" in part)
    return part if has_value and any(name in part for name in ("traceId", "subject", "dataType")) else None


def _evaluation(score: Mapping[str, Any]) -> Evaluation:
    value, kind, metadata = score.get("value"), score.get("dataType"), score.get("metadata")
    label = value if isinstance(value, str) else score.get("stringValue")
    measured = number(+value) if isinstance(value, int | float) else None  # a bool becomes 0 or 1
    truth = measured == 1.0 if measured in {0.0, 1.0} else _TRUTHS.get(str(label).lower())
    return Evaluation(
        trace_id=_trace_id(score),
        name=score["name"][:_LONGEST_NAME],
        # A category has a number too, but that is only its index.
        score=None if kind == "CATEGORICAL" else measured,
        label=label[:_LONGEST_NAME] if isinstance(label, str) else None,
        verdict=truth if kind == "BOOLEAN" else None,
        observation=observation_id if isinstance(observation_id := score.get("observationId"), str) else None,
        source=HUMAN if score.get("source") == "ANNOTATION" else JUDGE,
        at=_instant(score),
        sampling_probability=chance(metadata.get("sampling_probability")) if isinstance(metadata, dict) else None,
    )


def _trace_id(score: Mapping[str, Any]) -> TraceId:
    trace_id = score.get("traceId")
    return joining_id(trace_id[:_LONGEST_NAME]) if isinstance(trace_id, str) and trace_id.isprintable() else TraceId("")


def _instant(score: Mapping[str, Any]) -> float | None:
    for name in ("updatedAt", "timestamp", "createdAt"):
        if isinstance(text := score.get(name), str):
            with suppress(ValueError, OverflowError):
                at = datetime.fromisoformat(text)
                # Without a zone it is UTC, whatever the zone of this machine.
                return seconds(round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e9))
    return None
