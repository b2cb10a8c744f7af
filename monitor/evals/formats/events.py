"""Native events, and OpenTelemetry traces with their evaluations, as eval results: the request id names the case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from monitor.evals.cases import Attempt, CaseKey
from monitor.evals.formats.reading import (
    Format,
    Options,
    ResultFile,
    ResultFileInvalid,
    capability_in,
    input_of,
)
from monitor.trace.assembler import Assembler
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.decode import decode
from monitor.trace.model import InvalidRecord, Outcome, Trace, TraceId
from monitor.trace.outcome_policy import implied_outcomes, resolve
from monitor.trace.settings import Limits, OutcomeSettings

_NATIVE_SCHEMA = "cliffwatch."
_OTLP_KEYS = frozenset({"resourceSpans", "resourceLogs", "resource_spans", "resource_logs"})


def is_event(row: object) -> bool:
    """Whether *row* is a native event or an OpenTelemetry request."""
    if not isinstance(row, dict):
        return False
    return str(row.get("schema", "")).startswith(_NATIVE_SCHEMA) or bool(_OTLP_KEYS & set(row))


def read_records(name: str, records: Iterable[bytes], options: Options) -> ResultFile:
    """
    The attempts of *records*, one native event or OpenTelemetry request each.

    Raises:
        ResultFileInvalid: no trace of a named request is among them.
    """
    found = _Records()
    for record in records:
        found.add(record)
    traces, settings = found.assembled(), OutcomeSettings()
    named = [trace for trace in traces if trace.request.request_id is not None]
    if not named:
        raise ResultFileInvalid(
            f"{name} holds {len(traces):,} traces, but none has a request_id, so no case can be told from another; "
            "give each request of the suite one."
        )
    attempts = [_attempt(trace, found.verdict(trace, settings), options) for trace in named]
    return ResultFile(name, Format.EVENTS, attempts, tuple(found.notes(len(traces) - len(named))))


class _Records:
    """What a file's records said so far; one use per file."""

    def __init__(self) -> None:
        self._traces: dict[TraceId, Trace] = {}
        self._assembler = Assembler(OutcomeSettings())
        self._outcomes: dict[TraceId, list[Outcome]] = defaultdict(list)
        self._unreadable = 0
        self._limits = Limits()

    def add(self, record: bytes) -> None:
        try:
            decoded = decode(record, self._limits)
        except InvalidRecord:
            self._unreadable += 1
            return
        for trace in decoded.traces:
            self._traces.setdefault(trace.trace_id, trace)
        for span in decoded.spans:
            self._assembler.add(span)
        for event in decoded.outcomes:
            self._outcomes[event.trace_id].append(event.outcome)

    def assembled(self) -> Sequence[Trace]:
        return [*self._traces.values(), *self._assembler.rest()]

    def verdict(self, trace: Trace, settings: OutcomeSettings) -> Outcome | None:
        return resolve([*implied_outcomes(trace, settings), *self._outcomes.get(trace.trace_id, ())], settings)

    def notes(self, unnamed: int) -> Iterator[str]:
        if self._unreadable:
            yield f"{self._unreadable:,} records cannot be read and are left out."
        if unnamed:
            yield f"{unnamed:,} traces have no request_id and are left out."


def _attempt(trace: Trace, outcome: Outcome | None, options: Options) -> Attempt:
    request = trace.request
    told = "" if request.capability == UNCLASSIFIED else request.capability
    text, digest = input_of(request.text, keep_text=options.keep_text)
    return Attempt(
        key=CaseKey("", str(request.request_id)),
        model=trace.model_version,
        passed=None if outcome is None else outcome.success,
        repeat=trace.trace_id,
        capability=told or capability_in(request.attributes, options),
        failure=outcome.failure_class if outcome is not None and not outcome.success else None,
        unscored_because="no outcome" if outcome is None else None,
        input_text=text,
        input_digest=digest,
        metadata=dict(request.attributes),
        attempt_id=trace.trace_id,
    )
