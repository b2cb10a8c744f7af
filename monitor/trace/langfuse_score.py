"""Scores as Langfuse's interface writes them: one score, one event that creates it, or a batch of such events."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from monitor.trace.model import TraceId
from monitor.trace.outcome_policy import HUMAN, JUDGE, Evaluation
from monitor.trace.values import number, seconds

_SCORE_EVENT = "score-create"
_YES, _NO = ("true", "yes"), ("false", "no")
_LONGEST_NAME = 256


def evaluations_of(document: Mapping[str, Any]) -> list[Evaluation] | None:
    """Evaluations in *document*, in order; None where it is nothing that Langfuse writes of scores."""
    batch = document.get("batch")
    if isinstance(batch, list):
        scores = [body for event in batch if (body := _created(event)) is not None]
        return [_evaluation(score) for score in scores] if scores else None
    created = _created(document)
    if created is not None:
        return [_evaluation(created)]
    return [_evaluation(document)] if _is_score(document) else None


def _created(event: Any) -> Mapping[str, Any] | None:
    if not isinstance(event, dict) or event.get("type") != _SCORE_EVENT:
        return None
    body = event.get("body")
    return {"timestamp": event.get("timestamp"), **body} if isinstance(body, dict) and _is_score(body) else None


def _is_score(document: Mapping[str, Any]) -> bool:
    return (
        isinstance(document.get("name"), str)
        and ("value" in document or "stringValue" in document)
        and any(name in document for name in ("traceId", "subject", "dataType"))
    )


def _evaluation(score: Mapping[str, Any]) -> Evaluation:
    value, label = score.get("value"), score.get("stringValue")
    kind = score.get("dataType")
    if isinstance(value, str):
        label = value
    measured = number(+value) if isinstance(value, int | float) else None  # a truth value is 0 or 1 here
    return Evaluation(
        trace_id=TraceId(_trace_id(score)),
        name=score["name"][:_LONGEST_NAME],
        # A category has a number too, which only counts the categories.
        score=None if kind == "CATEGORICAL" else measured,
        label=label[:_LONGEST_NAME] if isinstance(label, str) else None,
        verdict=_truth(measured, label) if kind == "BOOLEAN" else None,
        source=HUMAN if score.get("source") == "ANNOTATION" else JUDGE,
        at=_instant(score),
    )


def _trace_id(score: Mapping[str, Any]) -> str:
    trace_id = score.get("traceId")
    subject = score.get("subject")
    if trace_id is None and isinstance(subject, dict):
        trace_id = subject.get("id") if subject.get("kind") == "trace" else subject.get("traceId")
    if not isinstance(trace_id, str) or not trace_id.isprintable():
        return ""
    return trace_id[:_LONGEST_NAME]


def _truth(measured: float | None, label: Any) -> bool | None:
    if measured in {0.0, 1.0}:
        return measured == 1.0
    if not isinstance(label, str):
        return None
    return True if label.lower() in _YES else False if label.lower() in _NO else None


def _instant(score: Mapping[str, Any]) -> float | None:
    for name in ("updatedAt", "timestamp", "createdAt"):
        text = score.get(name)
        if isinstance(text, str):
            with suppress(ValueError, OverflowError):
                at = datetime.fromisoformat(text)
                # Without a zone it is UTC, wherever this machine stands.
                return seconds(round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e9))
    return None
