from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from langfuse.api.commons.types.score_source import ScoreSource
from langfuse.api.scores.types.create_score_request import CreateScoreRequest
from langfuse.api.scores.types.score_subject_v3 import ScoreSubjectV3_Trace
from langfuse.api.scores.types.score_v3 import ScoreV3_Boolean

from monitor.trace.decode import decode
from monitor.trace.model import DropReason, Ignored, InvalidRecord, Outcome
from monitor.trace.reader import Decoded, DecodeOptions
from monitor.trace.settings import EvaluationRule, Limits, OutcomeSettings, TraceSettings

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
AT = datetime(2026, 11, 23, 7, tzinfo=UTC)


def a_score(**changes: Any) -> dict[str, Any]:
    """A score as Langfuse's own client writes it."""
    fields = {
        "name": "correctness",
        "value": 1,
        "trace_id": TRACE_ID,
        "data_type": "BOOLEAN",
        "timestamp": AT,
    } | changes
    return json.loads(CreateScoreRequest(**fields).json())


def read(document: Any, *rules: EvaluationRule) -> Decoded:
    options = DecodeOptions(TraceSettings(outcomes=OutcomeSettings(evaluations=rules)))
    return decode(json.dumps(document).encode(), Limits(), options)


def one_outcome(document: Any, *rules: EvaluationRule) -> Outcome:
    (event,) = read(document, *rules).outcomes
    assert event.trace_id == TRACE_ID
    return event.outcome


def test_boolean_score_is_a_plain_yes_or_no() -> None:
    """One is a success, zero a failure; who says so and when is kept."""
    passed, failed = one_outcome(a_score()), one_outcome(a_score(value=0, source="ANNOTATION"))

    assert (True, "judge", AT.timestamp()) == (passed.success, passed.source, passed.labelled_at)
    assert (False, "human", "correctness") == (failed.success, failed.source, failed.failure_class)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"sampling_probability": 0.05}, 0.05),
        ({"sampling_probability": 2}, None),
        ({"sampling_probability": "0.05"}, None),
        ({}, None),
        (None, None),
        ("sampling_probability", None),
    ],
)
def test_a_score_says_how_likely_it_was_asked_for(metadata: Any, expected: float | None) -> None:
    """In its metadata, which hold whatever their writer put there."""
    assert expected == one_outcome({**a_score(), "metadata": metadata}).sampling_probability


def test_numeric_score_needs_a_rule() -> None:
    """Nobody knows the good end of a number but the operator."""
    score = a_score(value=0.2, data_type="NUMERIC")

    assert {Ignored.EVALUATION_UNMAPPED: 1} == read(score).ignored
    assert (False, 0.2) == (
        one_outcome(score, EvaluationRule(name="correctness", fails_below=0.5)).success,
        one_outcome(score, EvaluationRule(name="correctness", fails_below=0.5)).score,
    )


def test_categorical_score_is_its_label() -> None:
    """The number beside a category only counts the categories."""
    created = a_score(value="Incorrect", data_type="CATEGORICAL")
    stored = a_score(value=0, data_type="CATEGORICAL") | {"stringValue": "correct"}

    assert (False, None) == (one_outcome(created).success, one_outcome(created).score)
    assert one_outcome(stored).success
    assert one_outcome(stored, EvaluationRule(name="*", fails_below=0.5)).success


def test_event_and_batch_of_events_are_unwrapped() -> None:
    """The ingestion interface wraps scores in events, and events in batches; other events say nothing."""
    event = {"id": "e", "type": "score-create", "timestamp": AT.isoformat(), "body": a_score()}
    batch = {"batch": [event, {"type": "trace-create", "body": {}}, event]}

    assert one_outcome(event).success
    assert 2 == len(read(batch).outcomes)


def test_subject_of_the_newer_interface_names_the_trace() -> None:
    """A score of a trace, or of an observation in it, is about the trace; one of a session is about none."""
    score = a_score(trace_id=None)
    observation = {"kind": "observation", "id": "o", "traceId": TRACE_ID}

    assert one_outcome(score | {"subject": {"kind": "trace", "id": TRACE_ID}}).success
    assert one_outcome(score | {"subject": observation}).success
    assert {Ignored.EVALUATION_UNLINKED: 1} == read(score | {"subject": {"kind": "session", "id": "s"}}).ignored
    assert one_outcome(a_score() | {"subject": {"kind": "session", "id": "s"}}).observation is None
    assert "o" == one_outcome(score | {"subject": observation}).observation


def test_score_as_the_interface_lists_it_is_read() -> None:
    """What Langfuse's client gets back can be forwarded as it is."""
    listed = ScoreV3_Boolean(
        id="s",
        project_id="p",
        name="correctness",
        source=ScoreSource.ANNOTATION,
        timestamp=AT,
        environment="production",
        created_at=AT,
        updated_at=AT,
        value=False,
        subject=ScoreSubjectV3_Trace(id=TRACE_ID),
    )

    outcome = one_outcome(json.loads(listed.json()))

    assert (False, "human", AT.timestamp()) == (outcome.success, outcome.source, outcome.labelled_at)


@pytest.mark.parametrize(
    "changes",
    [{"value": [1]}, {"value": 10**400}, {"timestamp": 7}, {"timestamp": "noon"}, {"stringValue": 7}, {"dataType": []}],
)
def test_hostile_fields_are_survived(changes: dict[str, Any]) -> None:
    """A field of a wrong type says nothing; the score is read or counted."""
    decoded = read(a_score() | changes)

    assert 1 == len(decoded.outcomes) + decoded.ignored.get(Ignored.EVALUATION_UNMAPPED, 0)


@pytest.mark.parametrize("document", [{"name": "x", "value": 1}, {"batch": []}, {"type": "score-create", "body": 7}])
def test_other_documents_are_no_scores(document: Any) -> None:
    """What is no score is refused like any unknown event."""
    with pytest.raises(InvalidRecord) as refused:
        read(document)
    assert refused.value.reason is DropReason.SCHEMA_UNKNOWN
