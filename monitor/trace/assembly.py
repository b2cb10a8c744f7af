"""
Builds agent runs from the spans of a trace.

The result does not depend on the order of the spans, on which record brought them, or on repeats: the pending spans of
a trace are a set, and each choice below takes the minimum or maximum of a total order.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import astuple, replace

from monitor.trace.bounds import LONGEST_RUN_SECONDS, MOST_ATTRIBUTES, MOST_COST_USD, MOST_COUNTED
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.model import NO_BUDGET, UNRESOLVED, Budget, ModelVersion, Request, Trace, TraceId, Usage, VersionBy
from monitor.trace.outcome_policy import status_outcome
from monitor.trace.semconv import ABORTS, KINDS_BY_NAME, WAITS
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import OperationKind, Span

PRODUCTION = "production"
UNKNOWN_SERVICE = "unknown_service"

_LATEST = re.compile(r"(?:^|[-_.:/@])latest$", re.IGNORECASE)
_HIGHEST_CLIMB = 64  # ids may form a cycle; in a trace of more agents, none of them adopts a span

# Bound once: before Python 3.12 each mention of a member costs as much as three attributes.
_AGENT, _WORKFLOW, _MODEL, _TOOL, _STEP, _RETRIEVAL, _EVALUATOR, _OTHER = OperationKind
_AGENTS = frozenset({_AGENT, _WORKFLOW})
_ASKED = _AGENTS | {_MODEL}
_PARTS = frozenset({_MODEL, _TOOL, _STEP, _RETRIEVAL})
_WRAPPED_IN = frozenset({_STEP, _OTHER})


def unique_spans(spans: Iterable[Span]) -> dict[str, Span]:
    """Each span once, by id; if two share an id, the one that outranks the other, in whatever order they came."""
    kept: dict[str, Span] = {}
    for span in spans:
        known = kept.setdefault(span.span_id, span)
        if known is not span and span.outranks(known):
            kept[span.span_id] = span
    return kept


def build_traces(spans: Iterable[Span], settings: OutcomeSettings, counted: Sequence[str] = ()) -> list[Trace]:
    """
    The agent runs in the *spans* of one trace, earliest first; none if neither a model nor an agent did any work.

    A run is everything within one agent's span, including nested agents; if no agent has a span, it is the whole trace.
    Agents side by side, at the top or under a span of the application, are separate runs. The first run has the id of
    the trace, each other one `trace id:id of its head`. Runs that were *counted* before (ids of their heads) keep their
    ids, whatever comes later.

    If the head of a run lacks a fact, the earliest span that has it supplies it. If a model call encloses another, two
    libraries recorded the same call, and only the inner one counts; the same holds for a tool call directly under
    another call of the same tool. Spans of evaluators are not part of a run.
    """
    heads = list(counted)
    traces = []
    for run in _runs(spans):
        if run.is_agents_work:
            known_by = next((span.span_id for span in run.ordered if span.span_id in counted), run.head.span_id)
            heads.append(known_by)
            traces.append(_trace(run, settings, known_by, is_first=known_by == heads[0]))
    return traces


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
    return 2 * (max(_end(span) for span in came) - min(span.started_at for span in came))


def _trace(run: _Run, settings: OutcomeSettings, known_by: str, *, is_first: bool) -> Trace:
    head, last = run.head, run.last
    ended_at = None if last.ended_at is None else min(last.ended_at, head.started_at + LONGEST_RUN_SECONDS)
    error = _error(run)
    version, version_by, requested = _version(run, has_failed=error is not None)
    why = _waits_for(run) if error is None else error.error_type
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
            error_type=_error_type(run, error),
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


class _Run(Struct, frozen=True, gc=False):
    """
    The spans of one run by role; *ordered* has the head first, then the others by start.

    Attributes:
        spine: Ids of the spans that decide how the run ended: not those within a tool, nor what the application does
            beside its agent (a title, a summary), nor calls that were cancelled because another one answered.
        layers: For the id of a model's span, the ids of the outer spans that record the same call.
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
        """Whether a model or an agent did any of the work; a decorated function that only retrieves is not an agent."""
        kinds = {span.kind for span in self.ordered}
        looks_up = _RETRIEVAL in kinds or kinds.isdisjoint({_STEP, _TOOL})
        return bool(self.model_calls) or _AGENT in kinds or (_WORKFLOW in kinds and not looks_up)


class _Tree:
    """*spans* by id and by parent; parents may be missing, and ids may form a cycle."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self.by_id = {span.span_id: span for span in spans}
        self._children: dict[str | None, list[Span]] = defaultdict(list)
        for span in spans:
            self._children[span.parent_span_id].append(span)

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
        return self.at_or_below(child for span in spans for child in self._children.get(span.span_id, ()))

    def above(self, span: Span) -> Iterator[Span]:
        """The parent of *span*, its parent, and so on."""
        for _ in range(_HIGHEST_CLIMB):
            parent = self.by_id.get(span.parent_span_id or "")
            if parent is None:
                return
            yield parent
            span = parent


def _runs(spans: Iterable[Span]) -> Iterator[_Run]:
    tree = _Tree(sorted(unique_spans(spans).values(), key=attrgetter("started_at", "span_id")))
    if judges := [span for span in tree.spans if span.kind is _EVALUATOR]:
        judging = tree.at_or_below(judges)
        tree = _Tree([span for span in tree.spans if span.span_id not in judging])
    work = [span for span in tree.spans if span.kind is not _OTHER]
    enclosed = tree.below(work)
    # In a cycle no span is on top; the earliest is as good as any other.
    topmost = [span for span in work if span.span_id not in enclosed] or work[:1]
    if adopted := _adopted(topmost, tree):
        tree = _Tree([adopted.get(span.span_id, span) for span in tree.spans])
    groups = _side_by_side([span for span in topmost if span.span_id not in adopted], tree)
    for tops in groups:
        own = tree.spans
        if len(groups) > 1:  # each also has the facts of the application's spans above it
            within = tree.at_or_below(tops) | {above.span_id for top in tops for above in tree.above(top)}
            own = sorted([tree.by_id[span_id] for span_id in within], key=attrgetter("started_at", "span_id"))
        yield _run(own, tops, tree, is_all=len(groups) == 1)


def _adopted(topmost: Sequence[Span], tree: _Tree) -> Mapping[str, Span]:
    """By id, spans whose parent somebody dropped on the way, as children of the one agent during which they ran."""
    agents = [span for span in topmost if span.kind in _AGENTS]
    # What stands beside an agent is not in it.
    known = tree.by_id.keys() | {None, *(agent.parent_span_id for agent in agents)}
    adopted = {}
    for span in topmost if len(agents) <= _HIGHEST_CLIMB else ():
        during = [at for at in agents if at.started_at <= span.started_at and _end(span) <= (at.ended_at or math.inf)]
        if len(during) == 1 and span.kind not in _AGENTS and span.parent_span_id not in known:
            adopted[span.span_id] = replace(span, parent_span_id=during[0].span_id)
    return adopted


def _run(own: Sequence[Span], tops: Sequence[Span], tree: _Tree, *, is_all: bool) -> _Run:
    head = tops[0]
    tools = [span for span in own if span.kind is _TOOL]
    models = [span for span in own if span.kind is _MODEL]
    layers = _layers(models, tree)
    calls = _innermost(models, layers)
    aside = _beside_agent(tops, tree) | _given_up(calls)
    return _Run(
        root=_root(own, head, tree) if is_all else None,
        head=head,
        last=max([top for top in tops if top.span_id not in aside], key=_by_end, default=head),
        ordered=[head, *(span for span in own if span is not head)],
        model_calls=calls,
        tool_calls=[span for span in tools if not _repeats_parent(span, tree)],
        spine={span.span_id for span in own} - tree.below(tools) - aside,
        layers=layers,
    )


def _root(own: Sequence[Span], head: Span, tree: _Tree) -> Span:
    """The root, or else the topmost span above the *head* that came."""
    return next((span for span in own if span.parent_span_id is None), None) or [head, *tree.above(head)][-1]


def _beside_agent(tops: Sequence[Span], tree: _Tree) -> set[str]:
    """Ids of what ran beside the agent of a run, if that agent calls models itself."""
    is_alone = len(tops) == 1 or tops[0].kind not in _AGENTS or not _calls_model(tops[0], tree)
    return set() if is_alone else tree.at_or_below(tops[1:])


def _given_up(calls: Sequence[Span]) -> set[str]:
    """Ids of *calls* that were cancelled while another one ran, like a hedged request once the other has answered."""
    lost = {call.span_id: call for call in calls if call.error and ABORTS.search(call.error_type or "")}
    others = [call for call in calls if call.span_id not in lost]
    begun, done = min((call.started_at for call in others), default=math.inf), max(map(_end, others), default=0.0)
    return {span_id for span_id, call in lost.items() if begun < _end(call) and call.started_at < done}


def _side_by_side(topmost: Sequence[Span], tree: _Tree) -> list[list[Span]]:
    """*topmost* spans grouped by run, the earliest run first; within a run, its agent comes first."""
    agents = [span for span in topmost if span.kind in _AGENTS]
    if not agents:
        return _by_request(topmost, tree) if len(topmost) > 1 else [[span] for span in topmost]
    groups = {agent.span_id: [agent] for agent in agents}
    under = {agent.parent_span_id for agent in agents}
    services = {None, *map(_own_service, agents)}
    for span in [span for span in topmost if span.kind not in _AGENTS]:
        parent = span.parent_span_id
        # Its run broke off before the agent's own span was written.
        if parent is not None and parent not in tree.by_id and parent not in under:
            groups.setdefault(parent, []).append(span)
        elif ((span.kind is _STEP and span.error) or _own_service(span) not in services) and _calls_model(span, tree):
            groups[span.span_id] = [span]
        else:
            earlier = [agent for agent in agents if agent.started_at <= span.started_at]
            groups[(earlier[-1] if earlier else agents[0]).span_id].append(span)
    return sorted(groups.values(), key=lambda group: (group[0].started_at, group[0].span_id))


def _by_request(calls: Sequence[Span], tree: _Tree) -> list[list[Span]]:
    """
    *calls* by service and the request id on them or on a span above them; those without one join the first group.

    What runs an agent by its name, like each graph of LangGraph, needs no such id.
    """
    runs = {call.span_id: call.span_id for call in calls if KINDS_BY_NAME.get(call.name) in _AGENTS}
    above = [(call.span_id, (call, *tree.above(call))) for call in calls]
    named = [next((at.request_id for at in spans if at.request_id), runs.get(own)) for own, spans in above]
    served = [_own_service(call) if _calls_model(call, tree) else None for call in calls]
    first, head = (next(filter(None, each), None) for each in (named, served))
    groups: dict[tuple[str | None, str | None], list[Span]] = defaultdict(list)
    for call, name, service in zip(calls, named, served, strict=True):
        groups[name or first, service or head].append(call)
    return list(groups.values())


def _own_service(span: Span) -> str | None:
    return None if span.service is None or span.service.startswith(UNKNOWN_SERVICE) else span.service


def _calls_model(span: Span, tree: _Tree) -> bool:
    return any(tree.by_id[span_id].kind is _MODEL for span_id in tree.at_or_below([span]))


def _end(span: Span) -> float:
    return span.ended_at or span.started_at


def _by_end(span: Span) -> tuple[float, float, str]:
    return _end(span), span.started_at, span.span_id


def _innermost(calls: Sequence[Span], layers: Mapping[str, AbstractSet[str]]) -> Sequence[Span]:
    wrappers = {outer for call in calls for outer in layers.get(call.span_id, ())}
    return [call for call in calls if call.span_id not in wrappers] or calls


def _layers(calls: Sequence[Span], tree: _Tree) -> Mapping[str, AbstractSet[str]]:
    layers = {call.span_id: above for call in calls if (above := set(_enclosing_calls(call, tree)))}
    # Some libraries do not make their span the parent of what happens in it; a second library's span is beside it.
    beside = sorted(calls, key=lambda call: (call.parent_span_id or "", call.started_at, -_end(call)))
    for outer, inner in pairwise(beside):
        asks_same, wrote = outer.request_model == inner.request_model, (outer.output_tokens, inner.output_tokens)
        answers_same = None not in (*wrote, outer.response_model) and outer.response_model == inner.response_model
        is_beside = outer.name != inner.name and outer.parent_span_id == inner.parent_span_id
        # Two records of one call agree on its tokens; two calls side by side hardly ever do.
        agree = is_beside and (asks_same or answers_same) and len({*wrote} - {None}) <= 1
        # Logfire writes the result of a stream as a span without duration after it.
        is_its_end = inner.started_at == inner.ended_at and outer.output_tokens is None
        if agree and (is_its_end or _end(inner) <= _end(outer)):
            layers[inner.span_id] = layers.get(inner.span_id, set()) | {outer.span_id}
    return layers


def _enclosing_calls(call: Span, tree: _Tree) -> Iterator[str]:
    for above in tree.above(call):
        if above.kind is _MODEL:
            # A try that failed within a call that answered all the same is no record of that call.
            if not (call.error and (above.output_tokens or above.answered)):
                yield above.span_id
        elif above.kind not in _WRAPPED_IN:
            return


def _repeats_parent(span: Span, tree: _Tree) -> bool:
    parent = next((above for above in tree.above(span) if above.kind is not _OTHER), None)
    return parent is not None and parent.kind is _TOOL and parent.tool_name == span.tool_name


def _error(run: _Run) -> Span | None:
    """
    The span whose error ended the run, or None.

    That is the root or the head, or else the last call of a model or tool, or a nested agent, if no later call
    succeeded. An error from which a later call recovered is not a failure, and neither is the error of a tool if the
    agent answers anyway. If calls run side by side without an agent, the first one does not decide for all.
    """
    if not any(span.error for span in run.ordered):
        return None
    ends = (run.root, run.last, run.head)
    tops = [span for span in ends if span is not None and span.error and span.span_id in run.spine]
    whole = next((span for span in tops if run.last is run.head or span.kind not in _PARTS), None)
    if whole is not None:
        return whole
    own = [span for span in run.ordered if span.span_id in run.spine]
    acts = [span for span in own if span.kind is _MODEL or span.kind is _TOOL]
    failed = [*tops, *(span for span in own if span.kind in _AGENTS and span.error)]
    # A streamed call may end after the tools that it calls.
    last = max(acts, key=lambda act: (act.started_at if act.calls_tools else _end(act), act.span_id), default=run.head)
    answers = last.kind is _TOOL and run.head.kind in _AGENTS and run.head.answered and not run.head.calls_tools
    if run.model_calls and last.error and not answers:
        failed.append(last)
    if not run.head.answered:
        # Steps of the application may break and be caught; one around the last call, or without any, ends the run.
        steps = (span for span in own if span.kind is _STEP and span.error and not ABORTS.search(span.error_type or ""))
        failed += [step for step in steps if not acts or step.started_at <= last.started_at <= _end(last) <= _end(step)]
    recovered = max((call.started_at for call in acts if not call.error), default=float("-inf"))
    return next((span for span in failed if recovered < (span.ended_at or span.started_at)), None)


def _waits_for(run: _Run) -> str | None:
    """The error with which a run without an error asks for an approval; a cancelled step ends no such run."""
    steps = [span for span in run.ordered if span.kind is _STEP and span.span_id in run.spine]
    last = max((step for step in steps if WAITS.search(step.error_type or "")), key=_by_end, default=None)
    acts = (*run.model_calls, *run.tool_calls)
    return None if last is None or any(act.started_at > _end(last) for act in acts) else last.error_type


def _error_type(run: _Run, error: Span | None) -> str | None:
    told_by = () if error is None else (error, *reversed(run.ordered))
    return next((span.error_type for span in told_by if span.error and span.error_type), None)


def _tool_calls(run: _Run) -> int | None:
    """Number of tool calls; None if it is not known, for example if the library writes no spans for them."""
    shows_tools = run.model_calls and any(span.kind in _AGENTS or span.kind is _STEP for span in run.ordered)
    none_wanted = shows_tools and not any(call.calls_tools for call in run.model_calls)
    return len(run.tool_calls) or (0 if none_wanted else None)


def _version(run: _Run, *, has_failed: bool) -> tuple[str, VersionBy, str | None]:
    """
    The version, where it comes from, and the requested model.

    If several models answered, the one that wrote most tokens counts, or the last one if tokens are not known. If the
    run ended with a failed call and without an answer, the model of that call counts.
    """
    named = run.first("model_version")
    calls = [call for call in run.model_calls if call.response_model or call.request_model]
    calls = [call for call in calls if call.span_id in run.spine] or calls
    last = max(calls, key=_by_end, default=None)
    if has_failed and last is not None and last.error and not run.head.answered:
        calls = [call for call in calls if call.request_model == last.request_model]
    calls = [call for call in calls if not call.error] or calls
    if calls:
        requested, answered = _answering(calls)
        told = (call.span_id for call in calls if call.response_model == answered)
        outer = {span_id for inner in told for span_id in run.layers.get(inner, ())}
        asked = (span.request_model for span in reversed(run.ordered) if span.span_id in outer)
        requested = requested or next(filter(None, asked), None)  # the inner record of a call may not say
        if has_failed and answered == requested and not any(call.answered or call.output_tokens for call in calls):
            answered = None  # a stream that broke off before it began repeats the name that was asked for
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
        last = max(calls, key=_by_end)
        return last.request_model, last.response_model or answers.get(last.request_model)
    wrote: dict[tuple[str | None, str | None], tuple[int, tuple[float, float, str]]] = {}
    for model, call in zip(models, calls, strict=True):
        tokens, end = wrote.get(model, (0, _by_end(call)))
        wrote[model] = (tokens + (call.output_tokens or 0), max(end, _by_end(call)))
    return max(wrote, key=lambda model: wrote[model])


def _asked_for_alias(run: _Run, version: str) -> bool:
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


def _service(run: _Run) -> str:
    service: str = run.first("service") or UNKNOWN_SERVICE
    # SDKs write this if they have no name.
    return (service.startswith(UNKNOWN_SERVICE) and run.first("agent_name")) or service


def _request(run: _Run) -> Request:
    classified = [(span.capability_rule, span.capability) for span in run.ordered if span.capability is not None]
    attributes: dict[str, float | str] = {}
    for span in [span for span in run.ordered if span.attributes]:
        for name, value in span.attributes.items():
            if len(attributes) < MOST_ATTRIBUTES:
                attributes.setdefault(name, value)
    asked_in = [run.head, *[span for span in run.ordered if span.kind in _ASKED]]
    telling = [span for span in asked_in if span.text is not None or span.prompt_family is not None]
    asked = next((span for span in telling if not span.is_wrapped), telling[0] if telling else None)
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


def _usage(run: _Run) -> Usage:
    """Sums over the model calls; the head's own number if no call reports any."""
    return Usage(
        input_tokens=_total(run, "input_tokens", sum, MOST_COUNTED),
        output_tokens=_total(run, "output_tokens", sum, MOST_COUNTED),
        cost_usd=_total(run, "cost_usd", math.fsum, MOST_COST_USD),
    )


def _total(run: _Run, name: str, add: Callable[[Iterable[Any]], _Number], most: _Number) -> _Number | None:
    # Each call once: if its innermost span lacks a number, an outer one may have it.
    reporting = [span for span in run.ordered if span.kind is _MODEL and getattr(span, name) is not None]
    known = [getattr(call, name) for call in _innermost(reporting, run.layers)]
    return min(add(known), most) if known else getattr(run.head, name)


def _budget(run: _Run) -> Budget:
    """Each limit from the earliest span that has it."""
    budgets = [span.budget for span in run.ordered if span.budget is not NO_BUDGET]
    limits = zip(*map(astuple, budgets), strict=True)
    return Budget(*(next((limit for limit in of_unit if limit is not None), None) for of_unit in limits))


def _answered(run: _Run) -> bool | None:
    """Whether the head, or else the last model call, gave an answer; a span around a stream returns nothing."""
    own = run.head.answered
    if own or not run.model_calls or (own is False and run.head.kind is _AGENT):
        return own
    last = max(run.model_calls, key=_by_end).answered
    return own if last is None else last


class Assembler:
    """
    Holds spans in memory until their trace is complete, for commands without a ledger.

    Args:
        settings: What a status means for the outcome.
        most_traces: Number of traces to hold; if there are more, the oldest go. None: no limit.
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
