"""Builds traces from spans: what each agent run asked, which version answered, what it used and how it ended."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from msgspec.structs import astuple

from monitor.trace.bounds import LONGEST_RUN_SECONDS, MOST_ATTRIBUTES, MOST_COST_USD, MOST_COUNTED
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.labels import clean_label
from monitor.trace.model import NO_BUDGET, UNRESOLVED, Budget, ModelVersion, Request, Trace, TraceId, Usage, VersionBy
from monitor.trace.outcome_policy import status_outcome
from monitor.trace.runs import Run, by_end, end_of, innermost, runs_of
from monitor.trace.semconv import ABORTS, CUT_OFF, WAITS
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import AGENTS, PRODUCTION, UNKNOWN_SERVICE, OperationKind, Span

_LATEST = re.compile(r"(?:^|[-_.:/@])latest$", re.IGNORECASE)

# Bound once: before Python 3.12 each access to an enum member costs as much as three attributes.
_AGENT, _, _MODEL, _TOOL, _STEP, _RETRIEVAL, _, _ = OperationKind
_ASKED = AGENTS | {_MODEL}
_PARTS = frozenset({_MODEL, _TOOL, _STEP, _RETRIEVAL})


def build_traces(spans: Iterable[Span], settings: OutcomeSettings, counted: Sequence[str] = ()) -> list[Trace]:
    """
    The agent runs in the *spans* of one trace, earliest first; none if neither a model nor an agent did any work.

    A run is everything within one agent's span, including nested agents; if no agent has a span, it is the whole trace.
    Agents side by side, at the top or under a span of the application, are separate runs. The first run has the id of
    the trace, each other one `trace id:id of its head`. Runs that were *counted* before (ids of their heads) keep their
    ids, whatever arrives later.

    If the head of a run lacks a fact, the earliest span that has it supplies it. If a model call encloses another, two
    libraries recorded the same call, and only the inner one counts; the same holds for a tool call directly under
    another call of the same tool. Spans of evaluators are not part of a run.
    """
    heads = list(counted)
    traces = []
    for run in runs_of(spans):
        if run.is_agents_work:
            known_by = next((span.span_id for span in run.ordered if span.span_id in counted), run.head.span_id)
            heads.append(known_by)
            traces.append(_trace(run, settings, known_by, is_first=known_by == heads[0]))
    return traces


def _trace(run: Run, settings: OutcomeSettings, known_by: str, *, is_first: bool) -> Trace:
    head, last = run.head, run.last
    ended_at = None if last.ended_at is None else min(last.ended_at, head.started_at + LONGEST_RUN_SECONDS)
    error = _error(run)
    version, version_by, requested = _version(run, has_failed=error is not None)
    error_type = None if error is None else _error_type(run, error)
    # The cause within a failed agent counts; an application may fail for a reason that none of its spans names.
    why = _waits_for(run) if error is None else error_type if head.error else error.error_type
    aborted = why is not None and ABORTS.search(why) is not None
    return Trace(
        trace_id=head.trace_id if is_first else TraceId(f"{head.trace_id}:{known_by}"),
        service=_service(run),
        environment=run.first("environment") or PRODUCTION,
        model_version=ModelVersion(version),
        version_by=version_by,
        requested_model=requested,
        request=_request(run),
        started_at=head.started_at,
        ended_at=ended_at,
        usage=_usage(run),
        tool_calls=_tool_calls(run),
        steps=len(run.model_calls) or None,
        budget=_budget(run),
        outcome=status_outcome(
            error=error is not None or aborted,
            aborted=aborted,
            error_type=error_type,
            ended_at=ended_at,
            settings=settings,
        ),
        floating_alias=_asked_for_alias(run, version),
        agent_version=run.first("agent_version"),
        conversation_id=run.first("conversation_id"),
        user_id=run.first("user_id"),
        answered=None if aborted else _answered(run),
        aborted=aborted,
        head_span_id=known_by,
        span_ids=frozenset() if is_first else frozenset(span.span_id for span in run.ordered),
    )


_Number = TypeVar("_Number", bound=float)


def _error(run: Run) -> Span | None:
    """
    The span whose error ended the run, or None.

    That is the root or the head, or else the last call of a model or tool, or a nested agent, if no later call
    succeeded. An error from which a later call recovered is not a failure, and neither is the error of a tool if the
    agent answers anyway. If calls run side by side without an agent, the first one does not decide for all.
    """
    if not any(span.error for span in run.ordered):
        return None
    own = [span for span in run.ordered if span.span_id in run.spine]
    acts = [span for span in own if span.kind is _MODEL or span.kind is _TOOL]
    # A streamed call may end after the tools that it calls.
    last = max(acts, key=lambda op: (op.started_at if op.calls_tools else end_of(op), op.span_id), default=run.head)
    # An agent was not cut off if all that its span lacks is an answer that its last call has.
    erring = [span for span in own if span.error and not (span.error_type == CUT_OFF and last.output_tokens)]
    tops = [span for span in (run.root, run.last, run.head) if span in erring]
    if (whole := next((span for span in tops if run.last is run.head or span.kind not in _PARTS), None)) is not None:
        return whole
    failed = [*tops, *(span for span in erring if span.kind in AGENTS)]
    answers = last.kind is _TOOL and run.head.kind in AGENTS and run.head.answered and not run.head.calls_tools
    if run.model_calls and last.error and not answers:
        failed.append(last)
    if not run.head.answered:
        # A failed step around the last call, or in a run without calls, ends the run unless a later step succeeds.
        steps = [span for span in own if span.kind is _STEP and not ABORTS.search(span.error_type or "")]
        resumed = max((step.started_at for step in steps if not step.error), default=-math.inf)
        last_ones = [step for step in steps if step.error and resumed < end_of(step)]
        failed += [s for s in last_ones if not acts or s.started_at <= last.started_at <= end_of(last) <= end_of(s)]
    recovered = max((call.started_at for call in acts if not call.error), default=float("-inf"))
    return next((span for span in failed if recovered < end_of(span)), None)


def _waits_for(run: Run) -> str | None:
    """The error of the step in which a run that has not failed waits for an approval, or None."""
    failed = [span for span in run.ordered if span.error_type and span.kind is _STEP and span.span_id in run.spine]
    last = max([step for step in failed if WAITS.search(step.error_type or "")], key=by_end, default=None)
    acts = (*run.model_calls, *run.tool_calls)
    return None if last is None or any(act.started_at > end_of(last) for act in acts) else last.error_type


def _error_type(run: Run, error: Span) -> str | None:
    named = [span.error_type for span in (error, run.head, *reversed(run.ordered)) if span.error and span.error_type]
    # What was raised within a failed agent says more than the status of its server or a group of exceptions.
    causes = [name for name in named if not _SAYS_LITTLE.search(name)] if run.head.error else named
    return next(iter(causes or named), None)


_SAYS_LITTLE = re.compile(rf"^\d{{3}}$|^(?:exceptiongroup\.)?(?:Base)?ExceptionGroup$|{ABORTS.pattern}", ABORTS.flags)


def _tool_calls(run: Run) -> int | None:
    """Number of tool calls; None if it is not known, for example if the library writes no spans for them."""
    shows_tools = run.model_calls and any(span.kind in AGENTS or span.kind is _STEP for span in run.ordered)
    none_wanted = shows_tools and not any(call.calls_tools for call in run.model_calls)
    return len(run.tool_calls) or (0 if none_wanted else None)


def _version(run: Run, *, has_failed: bool) -> tuple[str, VersionBy, str | None]:
    """
    The version, where it comes from, and the requested model.

    If several models answered, the one that wrote most tokens counts, or the last one if tokens are not known. If the
    run ended with a failed call and without an answer, the model of that call counts.
    """
    named = run.first("model_version")
    calls = [call for call in run.model_calls if call.response_model or call.request_model]
    calls = [call for call in calls if call.span_id in run.spine] or calls
    last = max(calls, key=by_end, default=None)
    if has_failed and last is not None and last.error and not run.head.answered:
        calls = [call for call in calls if call.request_model == last.request_model]
    calls = [call for call in calls if not call.error] or calls
    if calls:
        requested, answered = _answering(calls)
        # The inner record of a call may lack the requested model; an outer record of the same call may have it.
        inner_ids = (call.span_id for call in calls if not requested and call.response_model == answered)
        outer = {span_id for inner in inner_ids for span_id in run.layers.get(inner, ())}
        asked = (span.request_model for span in reversed(run.ordered) if span.span_id in outer)
        requested = requested or next(filter(None, asked), None)
        if has_failed and answered == requested and not any(call.answered or call.output_tokens for call in calls):
            answered = None  # a stream that never began repeats the requested name
    else:
        requested = run.first("request_model")
        answering = (span.response_model for span in run.ordered if not span.error)
        answered = next((model for model in answering if model is not None), None)
    if named is not None:
        return named, VersionBy.SENDER, requested
    if answered is not None:
        return answered, VersionBy.RESPONSE, requested
    return requested or UNRESOLVED, VersionBy.REQUEST, requested


def _answering(calls: Sequence[Span]) -> tuple[str | None, str | None]:
    """The requested model and the model that answered, of the calls that gave the answer."""
    answers = {call.request_model: call.response_model for call in calls if call.response_model}
    models = [(call.request_model, call.response_model or answers.get(call.request_model)) for call in calls]
    if len(set(models)) == 1:
        return models[0]
    if any(call.output_tokens is None for call in calls):
        return models[calls.index(max(calls, key=by_end))]
    wrote: dict[tuple[str | None, str | None], tuple[int, tuple[float, float, str]]] = {}
    for model, call in zip(models, calls, strict=True):
        tokens, end = wrote.get(model, (0, by_end(call)))
        wrote[model] = (tokens + (call.output_tokens or 0), max(end, by_end(call)))
    return max(wrote, key=lambda model: wrote[model])


def _asked_for_alias(run: Run, version: str) -> bool:
    return bool(_LATEST.search(version)) or any(
        is_floating_alias(call.request_model, call.response_model)
        for call in run.ordered
        if call.request_model is not None and version in (call.model_version, call.response_model or call.request_model)
    )


@lru_cache(maxsize=1_024)  # the same few names come with every run
def is_floating_alias(request_model: str | None, response_model: str | None) -> bool:
    """
    Whether *request_model* means "the latest": it says so, or the model that answered is a dated form of it.

    >>> is_floating_alias("gpt-4o", "gpt-4o-2024-08-06"), is_floating_alias("gpt-4o-2024-08-06", "gpt-4o-2024-08-06")
    (True, False)
    """
    if request_model is None:
        return False
    if _LATEST.search(request_model):
        return True
    return response_model is not None and response_model.startswith((f"{request_model}-", f"{request_model}@"))


def _service(run: Run) -> str:
    service: str = run.first("service") or UNKNOWN_SERVICE
    namespace, is_nameless, _ = service.partition(UNKNOWN_SERVICE)
    agent_name = is_nameless and run.first("agent_name")
    return (agent_name and clean_label(namespace + agent_name)) or service


def _request(run: Run) -> Request:
    classified = [(span.capability_rule, span.capability) for span in run.ordered if span.capability is not None]
    attributes: dict[str, float | str] = {}
    for span in [span for span in run.ordered if span.attributes]:
        for name, value in span.attributes.items():
            if len(attributes) < MOST_ATTRIBUTES:
                attributes.setdefault(name, value)
    asked_in = [run.head, *[span for span in run.ordered if span.kind in _ASKED]]
    with_text = [span for span in asked_in if span.text is not None or span.prompt_family is not None]
    asked = next((span for span in with_text if not span.is_wrapped), with_text[0] if with_text else None)
    return Request(
        capability=min(classified, key=lambda found: found[0] or 0)[1] or UNCLASSIFIED if classified else UNCLASSIFIED,
        request_id=run.first("request_id"),
        text=None if asked is None else asked.text,
        messages=run.first("messages"),
        tools=next((span.tools for span in run.ordered if span.tools), ()),
        attributes=attributes,
        prompt_family=None if asked is None else asked.prompt_family,
        tool_set=run.first("tool_set"),
    )


def _usage(run: Run) -> Usage:
    """Sums over the model calls; the head's own number if no call reports any."""
    return Usage(
        input_tokens=_total(run, "input_tokens", sum, MOST_COUNTED),
        output_tokens=_total(run, "output_tokens", sum, MOST_COUNTED),
        cost_usd=_total(run, "cost_usd", math.fsum, MOST_COST_USD),
    )


def _total(run: Run, name: str, add: Callable[[Iterable[Any]], _Number], most: _Number) -> _Number | None:
    # Each call once: if its innermost span lacks a number, an outer one may have it.
    reporting = [span for span in run.ordered if span.kind is _MODEL and getattr(span, name) is not None]
    known = [getattr(call, name) for call in innermost(reporting, run.layers)]
    return min(add(known), most) if known else getattr(run.head, name)


def _budget(run: Run) -> Budget:
    """Each limit from the earliest span that has it."""
    budgets = [span.budget for span in run.ordered if span.budget is not NO_BUDGET]
    limits = zip(*map(astuple, budgets), strict=True)
    return Budget(*(next((limit for limit in of_unit if limit is not None), None) for of_unit in limits))


def _answered(run: Run) -> bool | None:
    """Whether the head, or else the last model call, has an answer; a span around a stream has none of its own."""
    own = run.head.answered
    if own or not run.model_calls or (own is False and run.head.kind is _AGENT):
        return own
    last = max(run.model_calls, key=by_end).answered
    return own if last is None else last


class Assembler:
    """
    Holds spans in memory until their trace is complete, for commands without a ledger.

    Args:
        settings: What a status means for the outcome.
        most_traces: Most traces to hold; above this the oldest are dropped. None: no limit.
    """

    def __init__(self, settings: OutcomeSettings, *, most_traces: int | None = None) -> None:
        self._settings = settings
        self._most_traces = most_traces
        self._pending: dict[TraceId, tuple[float, list[Span]]] = {}  # and when the last one arrived

    def add(self, span: Span, *, now: float = 0.0) -> None:
        """Hold *span*, which arrived at *now* (seconds on any clock)."""
        _, spans = self._pending.get(span.trace_id, (now, []))
        spans.append(span)
        self._pending[span.trace_id] = now, spans
        if self._most_traces is not None and len(self._pending) > self._most_traces:
            del self._pending[next(iter(self._pending))]

    def complete(self, *, now: float, quiet_seconds: float) -> list[Trace]:
        """Traces whose root has ended and which got no span for *quiet_seconds*; they are no longer held."""
        return self._build(
            trace_id
            for trace_id, (last_came_at, spans) in self._pending.items()
            if now - last_came_at >= quiet_seconds and any(span.is_ended_root for span in spans)
        )

    def rest(self) -> list[Trace]:
        """Traces from all spans that are still held, in the order in which their first spans arrived."""
        return self._build(self._pending)

    def _build(self, trace_ids: Iterable[TraceId]) -> list[Trace]:
        spans = [self._pending.pop(trace_id)[1] for trace_id in list(trace_ids)]
        return [run for each in spans for run in build_traces(each, self._settings)]
