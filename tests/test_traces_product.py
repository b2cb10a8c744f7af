"""From bytes that the real libraries made to what a scrape shows: each row of the table of attribute names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from langfuse import LangfuseOtelSpanAttributes as Langfuse
from openinference.semconv.trace import (
    AnnotationAttributes,
    EvaluationAttributes,
    MessageAttributes,
    OpenInferenceSpanKindValues,
    PromptAttributes,
    SpanAttributes,
    ToolAttributes,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as genai
from opentelemetry.trace import Status, StatusCode, Tracer

from monitor.difficulty.features import request_features
from monitor.ledger.schema import request
from monitor.trace.model import Request, Tool, TraceId
from monitor.trace.semconv import ATTRIBUTES, Attribute
from monitor.trace.settings import BudgetRule, EvaluationRule, OutcomeSettings, TraceSettings
from monitor.trace.span import Span
from tests.trace.otlp import as_protobuf, recorded
from tests.traced import Samples, a_monitor

AGENT = {genai.GEN_AI_OPERATION_NAME: "invoke_agent"}
CALL = {genai.GEN_AI_OPERATION_NAME: "chat", genai.GEN_AI_RESPONSE_MODEL: "m-1"}
TEXT = "Book a quiet table for two"
MESSAGES = json.dumps([{"role": "user", "content": TEXT}])
PARTS = json.dumps([{"role": "user", "parts": [{"type": "text", "content": TEXT}]}])
NO_ANSWER = json.dumps([{"role": "assistant", "content": ""}])
TOOLS = [{"type": "function", "function": {"name": "book", "description": "Books.", "parameters": {"b": 1}}}]
FAILED_EVALUATION = {genai.GEN_AI_EVALUATION_NAME: "correctness", genai.GEN_AI_EVALUATION_SCORE_LABEL: "fail"}
SETTINGS = TraceSettings(outcomes=OutcomeSettings(evaluations=(EvaluationRule(name="quality", fails_below=0.5),)))


@dataclass(frozen=True)
class Seen:
    """What is to be seen of a run: its spans while they waited, a scrape, and the request's row, by column."""

    waited: Sequence[Span]
    samples: Samples
    row: Mapping[str, Any]


Look = Callable[[Seen], Any]


@dataclass(frozen=True)
class Case:
    """
    What a row of the table does to a run of one agent with one model call in it.

    Attributes:
        sentence: What is seen, and where.
        look: Looks there.
        seen: What has to be there; without the attribute it is not (`unseen`).
        agent: Attributes of the agent's span, beside its kind.
        call: Attributes of the model call; None: those of a call of `m-1` and no more.
        extra: Attributes of a third span under the agent; None: there is none.
        resource: Attributes of the resource.
        event: An event on the agent's span: name and attributes.
        error: Description of the agent's error status; None: no error.
    """

    sentence: str
    look: Look
    seen: Any
    unseen: Any = 0.0
    agent: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] | None = None
    resource: Mapping[str, Any] = field(default_factory=lambda: {"service.name": "shop"})
    event: tuple[str, Mapping[str, Any]] | None = None
    error: str | None = None

    def without(self, name: str) -> Case:
        """The same run whose sender does not write the attribute *name*, or no attribute of that family."""
        prefix = next(row.prefix for row in ATTRIBUTES if row.name == name)

        def rest(attributes: Mapping[str, Any]) -> dict[str, Any]:
            return {key: value for key, value in attributes.items() if not _is_of(key, name, prefix)}

        return Case(
            self.sentence,
            self.look,
            self.unseen,
            agent=rest(self.agent),
            call=None if self.call is None else rest(self.call),
            extra=None if self.extra is None else rest(self.extra),
            resource=rest(self.resource),
            event=None if self.event is None else (self.event[0], rest(self.event[1])),
            error=self.error,
        )

    def spans(self) -> Sequence[ReadableSpan]:
        """The run as opentelemetry-sdk records it."""

        def play(tracer: Tracer) -> None:
            with tracer.start_as_current_span("agent", attributes={**AGENT, **self.agent}) as agent:
                tracer.start_span("call", attributes=dict(CALL if self.call is None else self.call)).end()
                if self.extra is not None:
                    tracer.start_span("extra", attributes=dict(self.extra)).end()
                if self.event is not None:
                    agent.add_event(self.event[0], dict(self.event[1]))
                if self.error is not None:
                    agent.set_status(Status(StatusCode.ERROR, self.error))

        return recorded(play, self.resource)


def _is_of(key: str, name: str, prefix: str) -> bool:
    # The annotator's kind is told in a family of its own, by its last part.
    return key == name or key.endswith(f".{name}") or (prefix != "" and key.startswith(prefix))


def total(metric: str, **labels: str) -> Look:
    return lambda seen: seen.samples.total(metric, **labels)


def label(name: str, metric: str = "cliffwatch_requests_total") -> Look:
    return lambda seen: seen.samples.label(metric, name)


def failures(failure_class: str) -> Look:
    return total("cliffwatch_failures_by_class_total", failure_class=failure_class)


def row(column: str) -> Look:
    return lambda seen: seen.row[column]


def only_while_waiting(name: str) -> Look:
    """What the waiting spans say, and whether anything of it is left when they are gone."""

    def look(seen: Seen) -> tuple[set[str], bool]:
        said = {value for span in seen.waited if (value := getattr(span, name)) is not None}
        left = seen.samples.text + str(seen.row)
        return said, any(value in left for value in said)

    return look


STEPS = total("cliffwatch_request_steps_sum")
TOOL_CALLS = total("cliffwatch_tool_calls_total")
OVER_BUDGET = total("cliffwatch_budget_exceeded_total")
INPUT_TOKENS = total("cliffwatch_request_tokens_total", direction="input")
OUTPUT_TOKENS = total("cliffwatch_request_tokens_total", direction="output")
COST = total("cliffwatch_request_cost_dollars_total")
FAMILY = request_features(Request("unclassified", text=TEXT)).prompt_family
TOOL_SET = request_features(Request("unclassified", tools=(Tool("book", "Books.", '{"b": 1}'),))).tool_set


def a_tool(**attributes: Any) -> Case:
    return Case("a tool call is counted", TOOL_CALLS, 1.0, extra=attributes)


def a_provider(name: str) -> Case:
    call = {name: "openai", "gen_ai.request.model": "m-1"}
    return Case("a span with a model and a provider is a step", STEPS, 1.0, call=call)


def gone_with_its_spans(field_name: str, attribute: str, *, on_resource: bool = False) -> Case:
    sentence = "it waits with the spans; no metric and no row has it"
    look, told = only_while_waiting(field_name), {attribute: "x-2.1-x"}
    if on_resource:
        return Case(sentence, look, ({"x-2.1-x"}, False), (set(), False), resource={"service.name": "shop", **told})
    return Case(sentence, look, ({"x-2.1-x"}, False), (set(), False), agent=told)


def a_text(**attributes: Any) -> Case:
    call = {**CALL, **attributes}
    return Case("the request's family is in its row", row("prompt_family"), FAMILY, unseen=None, call=call)


def no_answer(**attributes: Any) -> Case:
    return Case("a run that gave no answer failed", failures("no_answer"), 1.0, call={**CALL, **attributes})


def tools_on_offer(**attributes: Any) -> Case:
    call = {**CALL, **attributes}
    return Case("the set of tools is in the request's row", row("tool_set"), TOOL_SET, unseen=None, call=call)


def of_call(sentence: str, look: Look, seen: float, **attributes: Any) -> Case:
    return Case(sentence, look, seen, call={**CALL, **attributes})


def over_budget(name: str, allowed: float) -> Case:
    call = {**CALL, genai.GEN_AI_USAGE_INPUT_TOKENS: 5}
    tool = {genai.GEN_AI_OPERATION_NAME: "execute_tool"}
    return Case("a run over its budget is counted", OVER_BUDGET, 1.0, agent={name: allowed}, call=call, extra=tool)


def a_model(name: str) -> Case:
    call = {genai.GEN_AI_OPERATION_NAME: "chat", name: "m-7"}
    return Case("requests are counted under it", label("model_version"), {"m-7"}, unseen={"unresolved"}, call=call)


def an_environment(name: str) -> Case:
    resource = {"service.name": "shop", name: "staging"}
    return Case("requests are counted in it", label("environment"), {"staging"}, {"production"}, resource=resource)


def an_agent_name(name: str) -> Case:
    named = {name: "helper"}
    unnamed = {"unknown_service"}
    return Case("it stands in for a service without a name", label("service"), {"helper"}, unnamed, named, resource={})


def judged(prefix: str, attributes: type, kind: str) -> Case:
    told = {f"{prefix}.0.{getattr(attributes, f'{kind}_{part}')}": value for part, value in _JUDGED.items()}
    return Case("a verdict on the span fails the request", failures("tone"), 1.0, agent=told)


_JUDGED = {"NAME": "tone", "LABEL": "fail"}


def who_judged(prefix: str, attributes: type, kind: str) -> Case:
    told = {f"{prefix}.0.{getattr(attributes, f'{kind}_{part}')}": value for part, value in _JUDGED.items()}
    told[f"{prefix}.0.{getattr(attributes, f'{kind}_ANNOTATOR_KIND')}"] = "HUMAN"
    return Case("who judged is in the request's row", row("outcome_source"), "human", unseen="judge", agent=told)


EVALUATION = "gen_ai.evaluation.result"
LLM_TOOLS = f"{SpanAttributes.LLM_TOOLS}.0.{ToolAttributes.TOOL_JSON_SCHEMA}"
IN_0, OUT_0 = f"{SpanAttributes.LLM_INPUT_MESSAGES}.0", f"{SpanAttributes.LLM_OUTPUT_MESSAGES}.0"
ROLE, CONTENT = MessageAttributes.MESSAGE_ROLE, MessageAttributes.MESSAGE_CONTENT

CASES: dict[str, Case] = {
    "gen_ai.operation.name": a_tool(**{genai.GEN_AI_OPERATION_NAME: "execute_tool"}),
    "openinference.span.kind": a_tool(
        **{SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.TOOL.value}
    ),
    "langfuse.observation.type": a_tool(**{Langfuse.OBSERVATION_TYPE: "tool"}),
    "traceloop.span.kind": a_tool(**{"traceloop.span.kind": "tool"}),
    "gen_ai.provider.name": a_provider(genai.GEN_AI_PROVIDER_NAME),
    "llm.provider": a_provider(SpanAttributes.LLM_PROVIDER),
    "llm.system": a_provider(SpanAttributes.LLM_SYSTEM),
    "gen_ai.system": a_provider(genai.GEN_AI_SYSTEM),
    "service.name": Case("requests are counted under it", label("service"), {"shop"}, unseen={"unknown_service"}),
    "service.namespace": Case(
        "it stands before the service",
        label("service"),
        {"team/shop"},
        {"shop"},
        resource={"service.name": "shop", "service.namespace": "team"},
    ),
    "langfuse.environment": an_environment(Langfuse.ENVIRONMENT),
    "deployment.environment.name": an_environment("deployment.environment.name"),
    "deployment.environment": an_environment("deployment.environment"),
    "cliffwatch.model_version": Case(
        "requests are counted under it, whatever model answered",
        label("model_version"),
        {"v7"},
        unseen={"m-1"},
        agent={"cliffwatch.model_version": "v7"},
    ),
    "gen_ai.response.model": a_model(genai.GEN_AI_RESPONSE_MODEL),
    "llm.response.model_name": a_model(SpanAttributes.LLM_RESPONSE_MODEL_NAME),
    "llm.model_name": a_model(SpanAttributes.LLM_MODEL_NAME),
    "langfuse.observation.model.name": a_model(Langfuse.OBSERVATION_MODEL),
    "gen_ai.request.model": Case(
        "a request that asked for an alias of what answered is counted",
        total("cliffwatch_alias_requests_total", model_version="m-1"),
        1.0,
        call={**CALL, genai.GEN_AI_REQUEST_MODEL: "m"},
    ),
    "llm.request.model_name": a_model(SpanAttributes.LLM_REQUEST_MODEL_NAME),
    "genkit:name": a_model("genkit:name"),
    "gen_ai.agent.name": an_agent_name(genai.GEN_AI_AGENT_NAME),
    "agent.name": an_agent_name(SpanAttributes.AGENT_NAME),
    "gen_ai.agent.version": gone_with_its_spans("agent_version", genai.GEN_AI_AGENT_VERSION),
    "langfuse.version": gone_with_its_spans("agent_version", Langfuse.VERSION),
    "langfuse.release": gone_with_its_spans("agent_version", Langfuse.RELEASE, on_resource=True),
    "service.version": gone_with_its_spans("agent_version", "service.version", on_resource=True),
    "gen_ai.conversation.id": gone_with_its_spans("conversation_id", genai.GEN_AI_CONVERSATION_ID),
    "session.id": gone_with_its_spans("conversation_id", SpanAttributes.SESSION_ID),
    "user.id": Case(
        "requests of one user are a cluster",
        lambda seen: seen.row["cluster"] is not None,
        seen=True,
        unseen=False,
        agent={"user.id": "u-1"},
    ),
    "cliffwatch.request_id": Case(
        "the request's name is in its row",
        row("item"),
        "probe-17",
        unseen=None,
        agent={"cliffwatch.request_id": "probe-17"},
    ),
    "langfuse.experiment.item.id": Case(
        "the request's name is in its row", row("item"), "i-1", unseen=None, agent={Langfuse.EXPERIMENT_ITEM_ID: "i-1"}
    ),
    "gen_ai.input.messages": a_text(**{genai.GEN_AI_INPUT_MESSAGES: PARTS}),
    "llm.input_messages.N.message.*": a_text(**{f"{IN_0}.{ROLE}": "user", f"{IN_0}.{CONTENT}": TEXT}),
    "llm.prompts.N.prompt.text": a_text(**{f"llm.prompts.0.{PromptAttributes.PROMPT_TEXT}": TEXT}),
    "langfuse.observation.input": a_text(**{Langfuse.OBSERVATION_INPUT: MESSAGES}),
    "input.value": a_text(**{SpanAttributes.INPUT_VALUE: TEXT}),
    "langfuse.trace.input": a_text(**{"langfuse.trace.input": TEXT}),
    "gen_ai.prompt.N.*": a_text(**{"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": TEXT}),
    "gen_ai.prompt": a_text(**{"gen_ai.prompt": MESSAGES}),
    "gen_ai.output.messages": no_answer(**{genai.GEN_AI_OUTPUT_MESSAGES: NO_ANSWER}),
    "llm.output_messages.N.message.*": no_answer(**{f"{OUT_0}.{ROLE}": "assistant", f"{OUT_0}.{CONTENT}": ""}),
    "langfuse.observation.output": no_answer(**{Langfuse.OBSERVATION_OUTPUT: NO_ANSWER}),
    "output.value": no_answer(**{SpanAttributes.OUTPUT_VALUE: " "}),
    "langfuse.trace.output": no_answer(**{"langfuse.trace.output": ""}),
    "gen_ai.completion.N.*": no_answer(**{"gen_ai.completion.0.role": "a", "gen_ai.completion.0.content": ""}),
    "gen_ai.completion": no_answer(**{"gen_ai.completion": ""}),
    "gen_ai.tool.definitions": tools_on_offer(**{genai.GEN_AI_TOOL_DEFINITIONS: json.dumps(TOOLS)}),
    "llm.tools.N.tool.json_schema": tools_on_offer(**{LLM_TOOLS: json.dumps(TOOLS[0])}),
    "llm.invocation_parameters": tools_on_offer(
        **{SpanAttributes.LLM_INVOCATION_PARAMETERS: json.dumps({"tools": TOOLS})}
    ),
    "gen_ai.tool.name": a_tool(**{genai.GEN_AI_TOOL_NAME: "book"}),
    "tool.name": a_tool(**{SpanAttributes.TOOL_NAME: "book"}),
    "gen_ai.usage.input_tokens": of_call(
        "they are added up", INPUT_TOKENS, 812, **{genai.GEN_AI_USAGE_INPUT_TOKENS: 812}
    ),
    "llm.token_count.prompt": of_call(
        "they are added up", INPUT_TOKENS, 812, **{SpanAttributes.LLM_TOKEN_COUNT_PROMPT: 812}
    ),
    "gen_ai.usage.prompt_tokens": of_call(
        "they are added up", INPUT_TOKENS, 812, **{genai.GEN_AI_USAGE_PROMPT_TOKENS: 812}
    ),
    "gen_ai.usage.output_tokens": of_call(
        "they are added up", OUTPUT_TOKENS, 90, **{genai.GEN_AI_USAGE_OUTPUT_TOKENS: 90}
    ),
    "llm.token_count.completion": of_call(
        "they are added up", OUTPUT_TOKENS, 90, **{SpanAttributes.LLM_TOKEN_COUNT_COMPLETION: 90}
    ),
    "gen_ai.usage.completion_tokens": of_call(
        "they are added up", OUTPUT_TOKENS, 90, **{genai.GEN_AI_USAGE_COMPLETION_TOKENS: 90}
    ),
    "langfuse.observation.usage_details": of_call(
        "they are added up", INPUT_TOKENS, 812, **{Langfuse.OBSERVATION_USAGE_DETAILS: '{"input": 812, "output": 90}'}
    ),
    "llm.cost.total": of_call("it is added up", COST, 0.25, **{SpanAttributes.LLM_COST_TOTAL: 0.25}),
    "langfuse.observation.cost_details": of_call(
        "it is added up", COST, 0.25, **{Langfuse.OBSERVATION_COST_DETAILS: '{"input": 0.125, "output": 0.125}'}
    ),
    "gen_ai.usage.cost": of_call("it is added up", COST, 0.25, **{"gen_ai.usage.cost": 0.25}),
    "llm.cost.prompt": of_call("it is added up", COST, 0.25, **{SpanAttributes.LLM_COST_PROMPT: 0.25}),
    "llm.cost.completion": of_call("it is added up", COST, 0.25, **{SpanAttributes.LLM_COST_COMPLETION: 0.25}),
    "error.type": Case(
        "an error has its type for a failure class", failures("timeout"), 1.0, agent={"error.type": "timeout"}, error=""
    ),
    "gen_ai.usage.cache_read.input_tokens": Case(
        "where there are more of them than of all, they come on top",
        INPUT_TOKENS,
        100,
        10,
        call={**CALL, genai.GEN_AI_USAGE_INPUT_TOKENS: 10, "gen_ai.usage.cache_read.input_tokens": 90},
    ),
    "gen_ai.usage.cache_creation.input_tokens": Case(
        "where there are more of them than of all, they come on top",
        INPUT_TOKENS,
        100,
        10,
        call={**CALL, genai.GEN_AI_USAGE_INPUT_TOKENS: 10, "gen_ai.usage.cache_creation.input_tokens": 90},
    ),
    "gen_ai.usage.reasoning.output_tokens": Case(
        "where there are more of them than of all, they come on top",
        OUTPUT_TOKENS,
        100,
        10,
        call={**CALL, genai.GEN_AI_USAGE_OUTPUT_TOKENS: 10, "gen_ai.usage.reasoning.output_tokens": 90},
    ),
    "exception.message": Case(
        "an error whose type says nothing has the one that its message begins with",
        failures("ValueError"),
        1.0,
        event=("exception", {"exception.type": "Exception", "exception.message": "ValueError('no')"}),
        error="",
    ),
    "exception.type": Case(
        "an error has its type for a failure class",
        failures("ValueError"),
        1.0,
        event=("exception", {"exception.type": "ValueError"}),
        error="",
    ),
    "langfuse.observation.level": Case(
        "a run whose level is ERROR failed", failures("error"), 1.0, agent={Langfuse.OBSERVATION_LEVEL: "ERROR"}
    ),
    "cliffwatch.budget.tool_calls": over_budget("cliffwatch.budget.tool_calls", 0),
    "cliffwatch.budget.steps": over_budget("cliffwatch.budget.steps", 0),
    "cliffwatch.budget.tokens": over_budget("cliffwatch.budget.tokens", 4),
    "cliffwatch.budget.seconds": over_budget("cliffwatch.budget.seconds", 0.0),
    "cliffwatch.request.*": Case(
        "it is in the request's row",
        row("attributes"),
        '{"scope": 2.0}',
        unseen=None,
        agent={"cliffwatch.request.scope": 2},
    ),
    "evaluations.N.evaluation.*": judged("evaluations", EvaluationAttributes, "EVALUATION"),
    "annotations.N.annotation.*": judged("annotations", AnnotationAttributes, "ANNOTATION"),
    "trace.evaluations.N.evaluation.*": judged("trace.evaluations", EvaluationAttributes, "EVALUATION"),
    "trace.annotations.N.annotation.*": judged("trace.annotations", AnnotationAttributes, "ANNOTATION"),
    "gen_ai.evaluation.name": Case(
        "a failed evaluation gives its name to the failure class",
        failures("correctness"),
        1.0,
        event=(EVALUATION, FAILED_EVALUATION),
    ),
    "gen_ai.evaluation.score.value": Case(
        "a score below its rule fails the request",
        failures("quality"),
        1.0,
        event=(EVALUATION, {genai.GEN_AI_EVALUATION_NAME: "quality", genai.GEN_AI_EVALUATION_SCORE_VALUE: 0.25}),
    ),
    "gen_ai.evaluation.score.label": Case(
        "a label that says failure fails the request",
        total("cliffwatch_outcomes_total", outcome="failure"),
        1.0,
        event=(EVALUATION, FAILED_EVALUATION),
    ),
    "cliffwatch.outcome.sampling_probability": Case(
        "the weight of the verdict is in the request's row",
        row("looked"),
        4.0,
        unseen=1.0,
        event=(EVALUATION, {**FAILED_EVALUATION, "cliffwatch.outcome.sampling_probability": 0.25}),
    ),
    "evaluation.annotator_kind": who_judged("evaluations", EvaluationAttributes, "EVALUATION"),
    "annotation.annotator_kind": who_judged("annotations", AnnotationAttributes, "ANNOTATION"),
}


def played(case: Case) -> Any:
    """What the case looks for, after a monitor has read its run, each span in a record of its own."""
    with a_monitor(SETTINGS) as monitor:
        spans = case.spans()
        monitor.feed(*(as_protobuf([span]) for span in spans))
        monitor.read_all()
        (waiting,) = monitor.ledger.spans_of({TraceId(format(span.context.trace_id, "032x")) for span in spans})
        monitor.close_traces()
        with monitor.ledger._engine.connect() as connection:
            stored = connection.execute(sa.select(request)).mappings().one_or_none()
        return case.look(Seen(waiting.spans, monitor.scrape(), stored or {}))


ROWS = [row for row in ATTRIBUTES if row.name in CASES]


def test_there_is_a_case_for_each_fact() -> None:
    """Whatever the table reads has to be shown to do something; each name of it is read in tests/trace/test_reader."""
    assert {row.fact for row in ATTRIBUTES} == {row.fact for row in ROWS}
    assert {row.name for row in ROWS} == CASES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.name}: {CASES[row.name].sentence}") for row in ROWS])
def test_what_each_attribute_does_is_seen(row: Attribute) -> None:
    """What the table says is read can be seen in the end, and is not there without the attribute."""
    case = CASES[row.name]

    assert case.seen == played(case)
    assert case.unseen == played(case.without(row.name))


@pytest.mark.parametrize("named_on_the_trace", [True, False])
def test_a_run_over_its_budget_is_a_failure_of_its_own_class(*, named_on_the_trace: bool) -> None:
    """Budgets of the trace or of the config: the run counts as failed, over budget, and with its horizon."""
    settings = OutcomeSettings(budgets=() if named_on_the_trace else (BudgetRule(service="shop", tool_calls=1),))
    agent = {"cliffwatch.budget.tool_calls": 1} if named_on_the_trace else {}
    tool = {genai.GEN_AI_OPERATION_NAME: "execute_tool", genai.GEN_AI_TOOL_NAME: "book"}

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("agent", attributes={**AGENT, **agent}):
            for attributes in (CALL, tool, CALL, tool, CALL):
                tracer.start_span("work", attributes=attributes).end()

    with a_monitor(TraceSettings(outcomes=settings)) as monitor:
        monitor.feed(as_protobuf(recorded(play, {"service.name": "shop"})))
        monitor.read_all()
        monitor.close_traces()
        samples = monitor.scrape()

    of_tier = {"service": "shop", "model_version": "m-1", "tier": "untiered"}
    assert 1.0 == samples.total("cliffwatch_failures_by_class_total", failure_class="budget_exceeded", **of_tier)
    assert 1.0 == samples.total("cliffwatch_budget_exceeded_total", **of_tier)
    assert 1.0 == samples.total("cliffwatch_outcomes_total", outcome="failure", **of_tier)
    assert 2.0 == samples.total("cliffwatch_tool_calls_total", **of_tier)
    assert 3.0 == samples.total("cliffwatch_request_steps_sum", **of_tier)
    assert 1.0 == samples.total("cliffwatch_request_steps_bucket", le="3.0", **of_tier)
    assert 0.0 == samples.total("cliffwatch_request_steps_bucket", le="2.0", **of_tier)


def test_what_became_of_the_spans_is_shown() -> None:
    """Received, joined, non_agent, duplicate, late and waiting ones are all on the same scrape, and add up."""

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("agent", attributes=AGENT):
            tracer.start_span("call", attributes=CALL).end()
        tracer.start_span("no agent").end()

    spans = recorded(play)
    with a_monitor() as monitor:
        monitor.feed(as_protobuf(spans), as_protobuf(spans[:1]))
        monitor.read_all()
        monitor.close_traces()
        monitor.feed(as_protobuf(spans[:1]), as_protobuf(recorded(play)))
        monitor.read_all()
        samples = monitor.shown()

    fates = {state: samples.total("cliffwatch_spans_total", state=state) for state in ("joined", "non_agent", "late")}
    assert {"joined": 2.0, "non_agent": 1.0, "late": 1.0} == fates
    assert 1.0 == samples.total("cliffwatch_spans_total", state="duplicate")
    assert 3.0 == samples.total("cliffwatch_spans_waiting")
    assert 8.0 == samples.total("cliffwatch_spans_total", state="received")


def test_langfuse_scores_and_their_revision_days_later_are_shown() -> None:
    """A score after the trace labels it, one that replaces it is a revision, and a person goes before both."""

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("agent", attributes=AGENT):
            tracer.start_span("call", attributes=CALL).end()

    spans = recorded(play)
    score = {"name": "solved", "dataType": "BOOLEAN", "traceId": format(spans[0].context.trace_id, "032x")}

    def said(value: int, at: str, source: str = "EVAL") -> bytes:
        return json.dumps(score | {"value": value, "timestamp": f"2026-11-{at}T00:00:00Z", "source": source}).encode()

    with a_monitor(TraceSettings(outcomes=OutcomeSettings(status="ignored"))) as monitor:
        monitor.feed(as_protobuf(spans))
        monitor.read_all()
        monitor.close_traces()
        monitor.feed(said(1, "24"), said(0, "27"), said(1, "25", "ANNOTATION"), said(0, "29"))
        monitor.read_all()
        samples = monitor.scrape()

    assert 1.0 == samples.total("cliffwatch_outcomes_total", outcome="success")
    assert 0.0 == samples.total("cliffwatch_outcomes_total", outcome="failure")
    revisions = "cliffwatch_outcome_revisions_total"
    assert 1.0 == samples.total(revisions, **{"from": "success", "to": "failure"})
    assert 1.0 == samples.total(revisions, **{"from": "failure", "to": "success"})


def test_a_pile_of_complete_traces_is_closed_over_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many traces are complete at once, each turn closes some of them, and the next poll is not late."""
    monkeypatch.setattr("monitor.service.loop._SPANS_PER_ASSEMBLY", 2)

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("agent", attributes=AGENT):
            tracer.start_span("call", attributes=CALL).end()

    with a_monitor() as monitor:
        monitor.feed(*(as_protobuf(recorded(play)) for _ in range(3)))
        monitor.read_all()
        monitor.clock.advance(100_000)
        waiting = []
        for _ in range(4):
            monitor.turn()
            waiting.append(monitor.ledger.pending_spans())

    assert [4, 2, 0, 0] == waiting
