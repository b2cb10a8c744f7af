"""
Divides the spans of one trace into agent runs, and finds the role of each span.

The result does not depend on the order of the spans, on repeats, or on the records that they came in: the pending spans
of a trace are a set, and each choice below takes the minimum or maximum of a total order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from operator import attrgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from monitor.trace.grouping import grouped
from monitor.trace.semconv import ABORTS, KINDS_BY_NAME
from monitor.trace.span import AGENTS, UNKNOWN_SERVICE, OperationKind, Span

_HIGHEST_CLIMB = 64  # ids may form a cycle; in a trace of more agents, none of them adopts a span

# Bound once: before Python 3.12 each access to an enum member costs as much as three attributes.
_AGENT, _WORKFLOW, _MODEL, _TOOL, _STEP, _RETRIEVAL, _EVALUATOR, _OTHER = OperationKind
_WRAPPED_IN = frozenset({_STEP, _OTHER})


def unique_spans(spans: Iterable[Span]) -> dict[str, Span]:
    """Each span once, by id; if two share an id, the one that outranks the other, in whatever order they came."""
    spans = list(spans)
    kept = {span.span_id: span for span in spans}
    for span in reversed(spans) if len(kept) < len(spans) else ():  # of two that are equal, the first
        if not kept[span.span_id].outranks(span):
            kept[span.span_id] = span
    return kept


class Run(Struct, frozen=True, gc=False):
    """
    The spans of one run by role; *ordered* has the head first, then the others by start.

    Attributes:
        root: The span around this run alone whose error is that of the run; None if there is none.
        spine: Ids of the spans that decide how the run ended: not those within a tool, not what the application does
            beside its agent (a title, a summary), and not calls that were cancelled because another one answered.
        layers: Ids of the outer spans that record the same model call, by the id of the inner one.
    """

    root: Span | None
    head: Span
    last: Span
    ordered: Sequence[Span]
    model_calls: Sequence[Span]
    tool_calls: Sequence[Span]
    spine: AbstractSet[str]
    layers: Mapping[str, AbstractSet[str]]

    def first(self, name: str) -> Any:
        """The attribute *name* of the head, or else of the earliest span that has it."""
        return next((found for span in self.ordered if (found := getattr(span, name)) is not None), None)

    @property
    def is_agents_work(self) -> bool:
        """Whether a model or an agent did any work; a decorated function that only retrieves is not an agent."""
        kinds = {span.kind for span in self.ordered}
        looks_up = _RETRIEVAL in kinds or kinds.isdisjoint({_STEP, _TOOL})
        return bool(self.model_calls) or _AGENT in kinds or (_WORKFLOW in kinds and not looks_up)


class _Tree:
    """*spans* by id and by parent; parents may be missing, and ids may form a cycle."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self.by_id = {span.span_id: span for span in spans}
        self._children = grouped(spans, lambda span: span.parent_span_id)

    def at_or_below(self, spans: Iterable[Span]) -> set[str]:
        """Ids of *spans* and of everything under them."""
        found: set[str] = set()
        open_ends = list(spans)
        while open_ends:
            span = open_ends.pop()
            if span.span_id not in found:
                found.add(span.span_id)
                open_ends.extend(self._children.get(span.span_id, ()))
        return found

    def below(self, spans: Iterable[Span]) -> set[str]:
        """Ids of everything under *spans*."""
        return self.at_or_below([child for span in spans for child in self._children.get(span.span_id, ())])

    def holds(self, span: Span, *kinds: OperationKind) -> bool:
        """Whether *span*, or any under it, is of one of the *kinds*."""
        return any(self.by_id[span_id].kind in kinds for span_id in self.at_or_below([span]))

    def above(self, span: Span) -> Iterator[Span]:
        """The parent of *span*, its parent, and so on."""
        for _ in range(_HIGHEST_CLIMB):
            if (parent := self.by_id.get(span.parent_span_id or "")) is None:
                return
            yield parent
            span = parent


def runs_of(spans: Iterable[Span]) -> Iterator[Run]:
    """The runs in *spans* of one trace, earliest first; see `monitor.trace.assembly.build_traces`."""
    tree = _Tree(sorted(unique_spans(spans).values(), key=attrgetter("started_at", "span_id")))
    if judges := [span for span in tree.spans if span.kind is _EVALUATOR]:
        judging = tree.at_or_below(judges)
        tree = _Tree([span for span in tree.spans if span.span_id not in judging])
    work = [span for span in tree.spans if span.kind is not _OTHER]
    enclosed = tree.below(work)
    # In a cycle no span is on top; the earliest is as good as any other.
    topmost = [span for span in work if span.span_id not in enclosed] or work[:1]
    groups = [topmost] if topmost else []
    if len(topmost) > 1:  # as in few traces
        if adopted := _adopted(topmost, tree):
            tree = _Tree([adopted.get(span.span_id, span) for span in tree.spans])
        groups = _side_by_side([span for span in topmost if span.span_id not in adopted], tree)
    everything = {top.span_id for tops in groups for top in tops}
    for tops in groups:
        own = tree.spans
        if len(groups) > 1:  # each also has the facts of the application's spans above it
            within = tree.at_or_below(tops) | {above.span_id for top in tops for above in tree.above(top)}
            own = sorted([tree.by_id[span_id] for span_id in within], key=attrgetter("started_at", "span_id"))
        yield _run(own, tops, tree, others=everything.difference(top.span_id for top in tops))


def _adopted(topmost: Sequence[Span], tree: _Tree) -> Mapping[str, Span]:
    """By id, spans whose parent never arrived, as children of the only agent that was running at the time."""
    agents = [span for span in topmost if span.kind in AGENTS]
    # A span beside an agent is not part of it.
    known = tree.by_id.keys() | {None, *(agent.parent_span_id for agent in agents)}
    adopted = {}
    for span in topmost if len(agents) <= _HIGHEST_CLIMB else ():
        during = [at for at in agents if at.started_at <= span.started_at and end_of(span) <= (at.ended_at or math.inf)]
        if len(during) == 1 and span.kind not in AGENTS and span.parent_span_id not in known:
            adopted[span.span_id] = replace(span, parent_span_id=during[0].span_id)
    return adopted


def _run(own: Sequence[Span], tops: Sequence[Span], tree: _Tree, *, others: AbstractSet[str]) -> Run:
    """The run of the spans *own*, of which *tops* are topmost; *others* are the topmost spans of other runs."""
    head = tops[0]
    above = [head, *tree.above(head)]
    # If the root never came, the topmost span above the head stands for it.
    root = None if others else next((span for span in own if span.parent_span_id is None), above[-1])
    if root is None or root.error is None:
        # A server may answer well with the error of what it called, so a failed span around this run alone decides.
        around = [(span, tree.below([span])) for span in reversed(above[1:]) if span.error]
        whole = (span for span, below in around if below.issuperset(top.span_id for top in tops) and not below & others)
        root = next(whole, root)
    tools = [span for span in own if span.kind is _TOOL]
    models = [span for span in own if span.kind is _MODEL]
    layers = _layers(models, tree)
    calls = innermost(models, layers)
    aside = _beside_agent(tops, tree) | _given_up(calls)
    return Run(
        root=root,
        head=head,
        last=max([top for top in tops if top.span_id not in aside], key=by_end, default=head),
        ordered=[head, *[span for span in own if span is not head]],
        model_calls=calls,
        tool_calls=[span for span in tools if not _repeats_parent(span, tree)],
        spine={span.span_id for span in own} - tree.below(tools) - aside,
        layers=layers,
    )


def _beside_agent(tops: Sequence[Span], tree: _Tree) -> set[str]:
    """Ids of the spans beside the agent of a run, if that agent calls models itself."""
    is_alone = len(tops) == 1 or tops[0].kind not in AGENTS or not tree.holds(tops[0], _MODEL)
    return set() if is_alone else tree.at_or_below(tops[1:])


def _given_up(calls: Sequence[Span]) -> set[str]:
    """Ids of *calls* that were cancelled while another ran, such as a hedged request once the other has answered."""
    lost = {call.span_id: call for call in calls if call.error and ABORTS.search(call.error_type or "")}
    others = [call for call in calls if call.span_id not in lost]
    begun, done = min((call.started_at for call in others), default=math.inf), max(map(end_of, others), default=0.0)
    return {span_id for span_id, call in lost.items() if begun < end_of(call) and call.started_at < done}


def _side_by_side(topmost: Sequence[Span], tree: _Tree) -> list[list[Span]]:
    """*topmost* spans grouped by run, the earliest run first; within a run, its agent comes first."""
    if not (agents := [span for span in topmost if span.kind in AGENTS]):
        return _by_request(topmost, tree)
    groups = {agent.span_id: [agent] for agent in agents}
    under = {agent.parent_span_id for agent in agents}
    services = {None, *map(_own_service, agents)}
    for span in [span for span in topmost if span.kind not in AGENTS]:
        parent = span.parent_span_id
        # The parent is an agent whose span was never written because its run broke off.
        if parent is not None and parent not in tree.by_id and parent not in under:
            groups.setdefault(parent, []).append(span)
        elif ((span.kind is _STEP and span.error) or _own_service(span) not in services) and tree.holds(span, _MODEL):
            groups[span.span_id] = [span]
        else:
            earlier = [agent for agent in agents if agent.started_at <= span.started_at]
            groups[(earlier[-1] if earlier else agents[0]).span_id].append(span)
    return sorted(groups.values(), key=lambda group: (group[0].started_at, group[0].span_id))


def _by_request(calls: Sequence[Span], tree: _Tree) -> list[list[Span]]:
    """
    *calls* by service and the request id on them or on a span above them; those without one join the first group.

    Calls that are agents by their names, such as graphs of LangGraph, or that hold an agent, need no such id.
    """
    runs = {c.span_id: c.span_id for c in calls if KINDS_BY_NAME.get(c.name) in AGENTS or tree.holds(c, *AGENTS)}
    above = [(call.span_id, (call, *tree.above(call))) for call in calls]
    named = [next((at.request_id for at in spans if at.request_id), runs.get(own)) for own, spans in above]
    served = [_own_service(call) if tree.holds(call, _MODEL) else None for call in calls]
    first, head = (next(filter(None, each), None) for each in (named, served))
    each = zip(calls, named, served, strict=True)
    keys = {call.span_id: (name or first, service or head) for call, name, service in each}
    return list(grouped(calls, lambda call: keys[call.span_id]).values())


def _own_service(span: Span) -> str | None:
    return None if span.service is None or UNKNOWN_SERVICE in span.service else span.service


def end_of(span: Span) -> float:
    """End of *span* in Unix seconds, or its start if it has not ended."""
    return span.ended_at or span.started_at


def by_end(span: Span) -> tuple[float, float, str]:
    """Sort key: the span that ends last comes last."""
    return end_of(span), span.started_at, span.span_id


def innermost(calls: Sequence[Span], layers: Mapping[str, AbstractSet[str]]) -> Sequence[Span]:
    """Of *calls* that record one call several times (see `Run.layers`), the innermost record of each."""
    wrappers = {outer for call in calls for outer in layers.get(call.span_id, ())} if layers else ()
    return [call for call in calls if call.span_id not in wrappers] or calls


def _layers(calls: Sequence[Span], tree: _Tree) -> Mapping[str, AbstractSet[str]]:
    layers = {call.span_id: above for call in calls if (above := set(_enclosing_calls(call, tree)))}
    # Some libraries do not make their span the parent of what happens in it, so a second library's span is beside it.
    has_other_name = any(call.name != calls[0].name for call in calls)
    beside = sorted(calls, key=lambda call: (call.parent_span_id or "", call.started_at, -end_of(call)))
    for outer, inner in pairwise(beside if has_other_name else ()):
        asks_same, wrote = outer.request_model == inner.request_model, (outer.output_tokens, inner.output_tokens)
        answers_same = None not in (*wrote, outer.response_model) and outer.response_model == inner.response_model
        is_beside = outer.name != inner.name and outer.parent_span_id == inner.parent_span_id
        # Two records of one call agree on its tokens; two calls side by side hardly ever do.
        agree = is_beside and (asks_same or answers_same) and len({*wrote} - {None}) <= 1
        # Logfire writes the result of a stream as a span without duration after it.
        is_its_end = inner.started_at == inner.ended_at and outer.output_tokens is None
        if agree and (is_its_end or end_of(inner) <= end_of(outer)):
            layers[inner.span_id] = layers.get(inner.span_id, set()) | {outer.span_id}
    return layers


def _enclosing_calls(call: Span, tree: _Tree) -> Iterator[str]:
    for above in tree.above(call):
        if above.kind is _MODEL:
            # A failed attempt within a call that answered all the same is a call of its own.
            if call.output_tokens or not (call.error and (above.output_tokens or above.answered)):
                yield above.span_id
        elif above.kind not in _WRAPPED_IN:
            return


def _repeats_parent(span: Span, tree: _Tree) -> bool:
    parent = next((above for above in tree.above(span) if above.kind is not _OTHER), None)
    return parent is not None and parent.kind is _TOOL and parent.tool_name == span.tool_name


def missing_seconds(spans: Iterable[Span]) -> float:
    """
    Seconds to wait for a parent that has not arrived or a span that has not ended; 0 if nothing is missing.

    That is twice the time between the first start and the last end so far: a run that took a minute may take another.
    """
    by_id = unique_spans(spans)
    came = by_id.values()
    work = [span for span in came if span.kind is not _OTHER]
    if all(span.ended_at is not None and (span.parent_span_id or span.span_id) in by_id for span in work):
        return 0.0
    return 2 * (max(end_of(span) for span in came) - min(span.started_at for span in came))
