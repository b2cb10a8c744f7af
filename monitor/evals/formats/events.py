"""Reads native events, and OpenTelemetry traces with evaluations, as eval results; the request id names the case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from monitor.evals.cases import Attempt, CaseKey
from monitor.evals.formats.reading import AttemptReader, Format, Options, ResultFile, ResultFileInvalid
from monitor.trace.assembly import Assembler
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.decode import decode
from monitor.trace.model import InvalidRecord, Outcome, Trace, TraceId
from monitor.trace.otlp_json import is_otlp_json
from monitor.trace.outcome_policy import implied_outcomes, resolve
from monitor.trace.settings import Limits, OutcomeSettings

_NATIVE_SCHEMA = "cliffwatch."


def is_event(row: object) -> bool:
    """Whether *row* is a native event or an OpenTelemetry request."""
    return is_otlp_json(row) or (isinstance(row, dict) and str(row.get("schema", "")).startswith(_NATIVE_SCHEMA))


def read_records(name: str, records: Iterable[bytes], options: Options) -> ResultFile:
    """
    The attempts of *records*, one native event or OpenTelemetry request each.

    Raises:
        ResultFileInvalid: no trace has a request id.
    """
    settings = OutcomeSettings()
    traces, outcomes, unreadable = _decoded(records, settings)
    named = [trace for trace in traces if trace.request.request_id is not None]
    if not named:
        raise ResultFileInvalid(
            f"{name} holds {len(traces):,} traces, but none has a request_id, which identifies the case; "
            "give each request of the suite one."
        )
    reader = AttemptReader(name, options)
    attempts = [
        _attempt(reader, trace, resolve([*implied_outcomes(trace, settings), *outcomes[trace.trace_id]], settings))
        for trace in named
    ]
    notes = [f"{unreadable:,} records cannot be read and are left out."] if unreadable else []
    if unnamed := len(traces) - len(named):
        notes.append(f"{unnamed:,} traces have no request_id and are left out.")
    return reader.result(Format.EVENTS, attempts, *notes)


def _decoded(
    records: Iterable[bytes], settings: OutcomeSettings
) -> tuple[Sequence[Trace], Mapping[TraceId, list[Outcome]], int]:
    """Traces of *records*, outcomes from other records by trace, and the number of unreadable records."""
    traces: dict[TraceId, Trace] = {}
    outcomes: dict[TraceId, list[Outcome]] = defaultdict(list)
    assembler, limits, unreadable = Assembler(settings), Limits(), 0
    for record in records:
        try:
            decoded = decode(record, limits)
        except InvalidRecord:
            unreadable += 1
            continue
        for trace in decoded.traces:
            traces.setdefault(trace.trace_id, trace)
        for span in decoded.spans:
            assembler.add(span)
        for event in decoded.outcomes:
            outcomes[event.trace_id].append(event.outcome)
    return [*traces.values(), *assembler.rest()], outcomes, unreadable


def _attempt(reader: AttemptReader, trace: Trace, outcome: Outcome | None) -> Attempt:
    request = trace.request
    return reader.attempt(
        CaseKey("", str(request.request_id)),
        None if outcome is None else outcome.success,
        broken="no outcome" if outcome is None else None,
        question=request.text,
        metadata=dict(request.attributes),
        capability="" if request.capability == UNCLASSIFIED else request.capability,
        failure=None if outcome is None else outcome.failure_class,
        model=trace.model_version,
        repeat=trace.trace_id,
        attempt_id=trace.trace_id,
    )
