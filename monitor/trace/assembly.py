"""
One trace out of its spans.

Nothing here depends on the order in which spans came, on the record that brought them, or on how often they came: the
spans that wait for a trace are a set, and each choice below is the least or greatest under a total order.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from monitor.trace.bounds import LONGEST_RUN_SECONDS, MOST_ATTRIBUTES, MOST_COST_USD, MOST_COUNTED
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.model import Budget, ModelVersion, Request, Trace, Usage
from monitor.trace.outcome_policy import status_outcome
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import OperationKind, Span

PRODUCTION = "production"
UNKNOWN_SERVICE = "unknown_service"

_LATEST = re.compile(r"(?:^|[-_.:/@])latest$", re.IGNORECASE)
_HIGHEST_CLIMB = 64
_WRAPPED_IN = frozenset({OperationKind.STEP, OperationKind.OTHER})


def unique_spans(spans: Iterable[Span]) -> dict[str, Span]:
    """Each span once, by id; of two that share an id, the one that outranks the other, whatever their order."""
    kept: dict[str, Span] = {}
    for span in spans:
        known = kept.get(span.span_id)
        if known is None or span.outranks(known):
            kept[span.span_id] = span
    return kept


def build_trace(spans: Iterable[Span], settings: OutcomeSettings) -> Trace | None:
    """
    The agent run that the *spans* of one trace make up, or None where they are none: no model did any of the work.

    The head of the run is the root if that is an agent's span, or else the first agent's span that no other encloses;
    what the head does not say is taken from the earliest span that does. A model call that encloses another is two
    layers of instrumentation looking at the same call, and only the inner one counts; so is a tool call right under
    another call of the same tool. What evaluators do is no part of the run.
    """
    run = _Run.of(spans)
    if run is None:
        return None
    version = _model_version(run)
    if version is None:
        return None
    head, last = run.head, run.last
    error = next((span for span in (run.root, last, head) if span is not None and span.error), None)
    ended_at = None if last.ended_at is None else min(last.ended_at, head.started_at + LONGEST_RUN_SECONDS)
    return Trace(
        trace_id=head.trace_id,
        service=_service(run),
        environment=run.first(lambda span: span.environment) or PRODUCTION,
        model_version=ModelVersion(version),
        request=_request(run),
        started_at=head.started_at,
        ended_at=ended_at,
        usage=_usage(run),
        tool_calls=len(run.tool_calls) if run.model_calls or run.tool_calls else None,
        steps=len(run.model_calls) or None,
        budget=_budget(run),
        outcome=status_outcome(
            error=error is not None,
            error_type=error.error_type if error else None,
            ended_at=ended_at,
            settings=settings,
        ),
        floating_alias=_asked_for_alias(run, version),
        agent_version=run.first(lambda span: span.agent_version),
        conversation_id=run.first(lambda span: span.conversation_id),
        answered=_answered(run),
    )


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Run:
    """Spans of one run in their roles; *ordered* has the head first, then the others by start."""

    root: Span | None
    head: Span
    last: Span
    ordered: Sequence[Span]
    model_calls: Sequence[Span]
    tool_calls: Sequence[Span]

    @classmethod
    def of(cls, spans: Iterable[Span]) -> _Run | None:
        by_start = sorted(unique_spans(spans).values(), key=lambda span: (span.started_at, span.span_id))
        children = _children(by_start)
        judging = _at_or_below((span for span in by_start if span.kind is OperationKind.EVALUATOR), children)
        own = [span for span in by_start if span.span_id not in judging]
        work = [span for span in own if span.kind is not OperationKind.OTHER]
        if not work:
            return None
        enclosed = _at_or_below((child for span in work for child in children.get(span.span_id, ())), children)
        # Ids that go in circles leave nothing on top; the earliest span is as good as any other.
        topmost = [span for span in work if span.span_id not in enclosed] or work[:1]
        head = topmost[0]
        by_id = {span.span_id: span for span in own}
        return cls(
            root=next((span for span in own if span.parent_span_id is None), None),
            head=head,
            last=max(topmost, key=lambda span: (span.ended_at or span.started_at, span.started_at, span.span_id)),
            ordered=[head, *(span for span in own if span is not head)],
            model_calls=_without_wrappers([span for span in work if span.kind is OperationKind.MODEL], by_id),
            tool_calls=[span for span in work if span.kind is OperationKind.TOOL and not _repeats_parent(span, by_id)],
        )

    def first(self, read: Callable[[Span], _T | None]) -> _T | None:
        """What the head says, or else the earliest span that says anything."""
        return next((found for span in self.ordered if (found := read(span)) is not None), None)


def _children(spans: Iterable[Span]) -> Mapping[str, Sequence[Span]]:
    children: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        if span.parent_span_id is not None:
            children[span.parent_span_id].append(span)
    return children


def _at_or_below(spans: Iterable[Span], children: Mapping[str, Sequence[Span]]) -> set[str]:
    """Ids of *spans* and of everything under them."""
    found: set[str] = set()
    open_ends = list(spans)
    while open_ends:
        span = open_ends.pop()
        if span.span_id not in found:
            found.add(span.span_id)
            open_ends.extend(children.get(span.span_id, ()))
    return found


def _without_wrappers(calls: Sequence[Span], by_id: Mapping[str, Span]) -> list[Span]:
    wrappers = {above.span_id for call in calls if (above := _enclosing_call(call, by_id)) is not None}
    inner = [call for call in calls if call.span_id not in wrappers]
    return inner or list(calls)


def _enclosing_call(call: Span, by_id: Mapping[str, Span]) -> Span | None:
    for above in _ancestors(call, by_id):
        if above.kind is OperationKind.MODEL:
            return above
        if above.kind not in _WRAPPED_IN:
            return None
    return None


def _ancestors(span: Span, by_id: Mapping[str, Span]) -> Iterator[Span]:
    for _ in range(_HIGHEST_CLIMB):  # ids may go in circles
        above = by_id.get(span.parent_span_id or "")
        if above is None:
            return
        yield above
        span = above


def _repeats_parent(span: Span, by_id: Mapping[str, Span]) -> bool:
    parent = by_id.get(span.parent_span_id or "")
    return parent is not None and parent.kind is OperationKind.TOOL and parent.tool_name == span.tool_name


def _model_of(span: Span) -> str | None:
    return span.response_model or span.request_model


def _model_version(run: _Run) -> str | None:
    """The version that the sender names, or the model that wrote most of the output."""
    named = run.first(lambda span: span.model_version)
    if named is not None:
        return named
    output: dict[str, int] = defaultdict(int)
    calls: dict[str, int] = defaultdict(int)
    for call in run.model_calls:
        model = _model_of(call)
        if model is not None:
            output[model] += call.output_tokens or 0
            calls[model] += 1
    if calls:
        return max(calls, key=lambda model: (output[model], calls[model], model))
    return run.first(_model_of)


def _asked_for_alias(run: _Run, version: str) -> bool:
    return bool(_LATEST.search(version)) or any(
        is_floating_alias(call.request_model, call.response_model)
        for call in run.ordered
        if call.request_model is not None and version in {call.model_version, _model_of(call)}
    )


def is_floating_alias(request_model: str | None, response_model: str | None) -> bool:
    """
    Whether *request_model* names whatever is the latest: it says so, or the model that answered is a dated form of it.

    >>> is_floating_alias("gpt-4o", "gpt-4o-2024-08-06"), is_floating_alias("gpt-4o-2024-08-06", "gpt-4o-2024-08-06")
    (True, False)
    """
    if request_model is None:
        return False
    if _LATEST.search(request_model):
        return True
    return response_model is not None and response_model.startswith((f"{request_model}-", f"{request_model}@"))


def _service(run: _Run) -> str:
    service = run.first(lambda span: span.service)
    if service is None or service.startswith(UNKNOWN_SERVICE):  # what SDKs write that nobody told the name
        return run.first(lambda span: span.agent_name) or service or UNKNOWN_SERVICE
    return service


def _request(run: _Run) -> Request:
    classified = [(span.capability_rule, span.capability) for span in run.ordered if span.capability is not None]
    attributes: dict[str, float | str] = {}
    for name, value in chain.from_iterable(span.attributes.items() for span in run.ordered):
        if len(attributes) < MOST_ATTRIBUTES:
            attributes.setdefault(name, value)
    return Request(
        capability=min(classified, key=lambda found: found[0] or 0)[1] or UNCLASSIFIED if classified else UNCLASSIFIED,
        request_id=run.first(lambda span: span.request_id),
        text=run.first(lambda span: span.text),
        messages=run.first(lambda span: span.messages),
        tools=run.first(lambda span: span.tools or None) or (),
        attributes=attributes,
        prompt_family=run.first(lambda span: span.prompt_family),
    )


def _usage(run: _Run) -> Usage:
    """Sums over the model calls; what none of them reports, the head may."""
    return Usage(
        input_tokens=_total([call.input_tokens for call in run.model_calls], run.head.input_tokens),
        output_tokens=_total([call.output_tokens for call in run.model_calls], run.head.output_tokens),
        cost_usd=_total_cost([call.cost_usd for call in run.model_calls], run.head.cost_usd),
    )


def _total(parts: Iterable[int | None], otherwise: int | None) -> int | None:
    known = [part for part in parts if part is not None]
    return min(sum(known), MOST_COUNTED) if known else otherwise


def _total_cost(parts: Iterable[float | None], otherwise: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return min(math.fsum(known), MOST_COST_USD) if known else otherwise


def _budget(run: _Run) -> Budget:
    return Budget(
        tool_calls=run.first(lambda span: span.budget.tool_calls),
        steps=run.first(lambda span: span.budget.steps),
        tokens=run.first(lambda span: span.budget.tokens),
        seconds=run.first(lambda span: span.budget.seconds),
    )


def _answered(run: _Run) -> bool | None:
    """Whether the head gave an answer, or else the model call that ended last."""
    if run.head.answered is not None or not run.model_calls:
        return run.head.answered
    final = max(run.model_calls, key=lambda span: (span.ended_at or span.started_at, span.started_at, span.span_id))
    return final.answered
