from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langfuse import Langfuse
from msgspec import msgpack
from msgspec.structs import replace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, Tracer

from monitor.trace.assembly import build_traces, is_floating_alias
from monitor.trace.decode import decode
from monitor.trace.model import UNRESOLVED, Budget, Outcome, Tool, Trace, TraceId, Usage, VersionBy
from monitor.trace.runs import unique_spans
from monitor.trace.settings import Limits, OutcomeSettings
from monitor.trace.span import OperationKind, Span
from tests.trace.otlp import as_protobuf, recorded
from tests.trace.spans import STARTED_AT, a_call, a_span, a_tool_call


def built(*spans: Span, **settings: Any) -> Trace:
    (trace,) = build_traces(spans, OutcomeSettings(**settings))
    return trace


class TestRun:
    def test_genai_run_is_read_whole(self) -> None:
        """A run as OpenTelemetry's conventions describe it, from the SDK's bytes to a trace."""

        def play(tracer: Tracer) -> None:
            agent = {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": "support",
                "gen_ai.agent.version": "7",
                "gen_ai.conversation.id": "c-1",
                "cliffwatch.capability": "booking",
                "cliffwatch.budget.tool_calls": 5,
            }
            chat = {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.response.model": "gpt-4o-2024-08-06",
                "gen_ai.usage.input_tokens": 10,
                "gen_ai.usage.output_tokens": 4,
                "llm.cost.total": 0.25,
            }
            asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Book a table"}]}])
            tools = json.dumps([{"type": "function", "name": "book", "parameters": {}}])
            answer = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Done."}]}])
            with (
                tracer.start_as_current_span("POST /chat") as root,
                tracer.start_as_current_span("invoke_agent support", attributes=agent),
            ):
                first = {**chat, "gen_ai.input.messages": asked, "gen_ai.tool.definitions": tools}
                tracer.start_span("chat", attributes=first).end()
                tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book"}
                tracer.start_span("execute_tool book", attributes=tool).end()
                tracer.start_span("chat", attributes={**chat, "gen_ai.output.messages": answer}).end()
            root.set_status(Status(StatusCode.UNSET))

        resource = {"service.name": "shop", "deployment.environment.name": "staging"}
        spans = decode(as_protobuf(recorded(play, resource)), Limits()).spans

        trace = built(*spans)

        agent_span = next(span for span in spans if span.kind is OperationKind.AGENT)
        assert trace == Trace(
            trace_id=agent_span.trace_id,
            service="shop",
            environment="staging",
            model_version="gpt-4o-2024-08-06",
            request=replace(
                trace.request,
                capability="booking",
                text="Book a table",
                messages=1,
                tools=(Tool("book", "", "{}"),),
            ),
            started_at=agent_span.started_at,
            ended_at=agent_span.ended_at,
            usage=Usage(20, 8, 0.5),
            tool_calls=1,
            steps=2,
            budget=Budget(tool_calls=5),
            outcome=Outcome(success=True, source="status", labelled_at=agent_span.ended_at),
            floating_alias=True,
            agent_version="7",
            conversation_id="c-1",
            answered=True,
            version_by=VersionBy.RESPONSE,
            requested_model="gpt-4o",
            head_span_id=agent_span.span_id,
        )

    def test_langfuse_run_is_read_whole(self) -> None:
        """A run that Langfuse's own client recorded."""
        exporter = InMemorySpanExporter()
        client = Langfuse(
            public_key="pk-assembly",
            secret_key="sk",
            base_url="http://127.0.0.1:9",
            span_exporter=exporter,
            tracer_provider=TracerProvider(),
            environment="staging",
            release="r7",
        )
        with client.start_as_current_observation(name="run", as_type="agent", input="Book a table", output="Done."):
            with client.start_as_current_observation(
                name="call",
                as_type="generation",
                model="gpt-4o-2024-08-06",
                input=[{"role": "user", "content": "Book a table"}],
                usage_details={"input": 10, "output": 4},
                cost_details={"total": 0.25},
            ):
                pass
            with client.start_as_current_observation(name="book", as_type="tool", level="ERROR"):
                pass
        client.flush()
        client.shutdown()

        trace = built(*decode(as_protobuf(exporter.get_finished_spans()), Limits()).spans)

        assert ("staging", "gpt-4o-2024-08-06", "r7") == (trace.environment, trace.model_version, trace.agent_version)
        assert ("Book a table", 1) == (trace.request.text, trace.request.messages)
        assert (Usage(10, 4, 0.25), 1, 1, True) == (trace.usage, trace.steps, trace.tool_calls, trace.answered)
        assert trace.outcome is not None
        assert trace.outcome.success

    def test_application_around_the_agent_lends_what_the_agent_lacks(self) -> None:
        """The run begins and ends with the agent; an outer span may tell environment and request."""
        trace = built(
            a_span("http", kind=OperationKind.OTHER, environment="staging", request_id="r-1", service="gateway"),
            a_span("root", parent_span_id="http", started_at=STARTED_AT + 0.25),
            a_call("a", started_at=STARTED_AT + 0.5),
        )

        assert ("support-agent", "staging", "r-1") == (trace.service, trace.environment, trace.request.request_id)
        assert (STARTED_AT + 0.25, STARTED_AT + 1.25) == (trace.started_at, trace.ended_at)

    def test_calls_without_an_agent_are_one_run(self) -> None:
        """Model calls of a plain handler run from the first's start to the last's end."""
        trace = built(
            a_span("http", kind=OperationKind.OTHER, started_at=STARTED_AT - 5),
            a_call("a", "http"),
            a_call("b", "http", started_at=STARTED_AT + 3),
        )

        assert (STARTED_AT, STARTED_AT + 4, 2) == (trace.started_at, trace.ended_at, trace.steps)

    def test_trace_without_a_model_is_no_run(self) -> None:
        """An application's trace holds no run, and a retrieval or a tool alone is none."""
        spans = [a_span(kind=OperationKind.WORKFLOW), a_span("r", parent_span_id="root", kind=OperationKind.RETRIEVAL)]
        assert build_traces([a_span("http", kind=OperationKind.OTHER)], OutcomeSettings()) == []
        assert build_traces([], OutcomeSettings()) == []
        assert build_traces([a_tool_call("a")], OutcomeSettings()) == []
        assert build_traces(spans, OutcomeSettings()) == []

    def test_agent_that_names_no_model_is_a_run_of_no_known_version(self) -> None:
        """It happened, and it may have failed."""
        trace = built(a_span(error=True), a_tool_call("a"))

        assert (UNRESOLVED, VersionBy.REQUEST, None) == (
            trace.model_version,
            trace.version_by,
            trace.requested_model,
        )

    def test_evaluator_is_no_part_of_the_run(self) -> None:
        """What a judge spends inside the trace counts neither as tokens nor as steps, nor does its model."""
        trace = built(
            a_span(),
            a_call("a", output_tokens=1),
            a_span("judge", parent_span_id="root", kind=OperationKind.EVALUATOR),
            a_call("b", "judge", output_tokens=100, response_model="judge-1"),
        )

        assert ("m-1", 1, 1) == (trace.model_version, trace.steps, trace.usage.output_tokens)

    def test_trace_of_an_evaluator_alone_is_no_run(self) -> None:
        """A judge that runs later in a trace of its own is not counted as a request."""
        spans = [a_span("judge", kind=OperationKind.EVALUATOR), a_call("b", "judge")]

        assert build_traces(spans, OutcomeSettings()) == []

    def test_call_that_two_layers_recorded_counts_once(self) -> None:
        """A framework's span around the provider's span is the same call."""
        trace = built(
            a_span(),
            a_call("outer", output_tokens=7),
            a_span("chain", parent_span_id="outer", kind=OperationKind.STEP),
            a_call("inner", "chain", output_tokens=7),
        )

        assert (1, 7) == (trace.steps, trace.usage.output_tokens)

    def test_call_that_one_layer_names_only_by_its_answer_counts_once(self) -> None:
        """OpenInference may write no requested model; where tokens are not known, two calls are two."""
        for tokens, expected in ((5, (1, 5)), (None, (2, None))):
            outer = a_call("a", name="ChatCompletion", output_tokens=tokens, ended_at=STARTED_AT + 2)
            inner = a_call("b", name="chat m", request_model="m", output_tokens=tokens)

            trace = built(a_span(ended_at=STARTED_AT + 9), outer, inner)

            assert expected == (trace.steps, trace.usage.output_tokens)

    def test_try_that_failed_within_a_call_that_answered_is_not_that_call(self) -> None:
        """Pydantic AI writes the refused models of a fallback under the call that another one answered."""
        call = a_call("a", request_model="m", response_model="m-1", output_tokens=5)
        refused = a_call("b", "a", request_model="first", response_model=None, error=True, ended_at=STARTED_AT + 0.5)
        answered = built(a_span(), call, refused)
        failed = built(a_span(error=True), replace(call, error=True, response_model=None, output_tokens=None), refused)

        assert ("m-1", 5, 2) == (answered.model_version, answered.usage.output_tokens, answered.steps)
        assert ("first", 1) == (failed.requested_model, failed.steps)

    def test_inner_record_of_a_call_that_names_no_requested_model_takes_it_from_the_outer_one(self) -> None:
        """LiteLLM writes it on its own span alone; without it a stream's alias is a version beside the dated one."""
        gateway = a_call("a", request_model="main", response_model="m-1")
        call = a_call("b", "a", request_model="m", response_model="m-1")
        run = built(a_span(), gateway, call, a_call("c", "b", response_model="m-1"))

        assert ("m", "m-1", 1) == (run.requested_model, run.model_version, run.steps)

    def test_call_by_a_tool_is_a_call_of_its_own(self) -> None:
        """A tool that asks a model under the call that wanted it does not make that call vanish."""
        trace = built(a_span(), a_call("a"), a_tool_call("t", "a"), a_call("b", "t"))

        assert (2, 1) == (trace.steps, trace.tool_calls)

    def test_tool_call_that_two_layers_recorded_counts_once(self) -> None:
        """The same tool right under itself is one call; another tool under it is another call."""
        same = built(a_span(), a_call("a"), a_tool_call("t"), a_tool_call("u", "t"))
        other = built(a_span(), a_call("a"), a_tool_call("t"), a_tool_call("u", "t", tool_name="pay"))
        wire = a_span("http", parent_span_id="t", kind=OperationKind.OTHER)
        served = built(a_span(), a_call("a"), a_tool_call("t"), wire, a_tool_call("u", "http"))

        assert (1, 2, 1) == (same.tool_calls, other.tool_calls, served.tool_calls)

    def test_agent_alone_tells_its_own_sums(self) -> None:
        """Where no call was recorded, the agent's totals hold, and steps and tool calls are not known."""
        trace = built(a_span(response_model="m-1", input_tokens=10, output_tokens=4, cost_usd=0.5))

        assert (Usage(10, 4, 0.5), None, None) == (trace.usage, trace.steps, trace.tool_calls)

    def test_sums_of_calls_go_before_those_of_the_agent(self) -> None:
        """An agent that repeats the sum of its calls does not double it."""
        trace = built(a_span(input_tokens=30), a_call("a", input_tokens=10), a_call("b", input_tokens=20))

        assert trace.usage.input_tokens == 30

    def test_model_that_wrote_most_is_the_version(self) -> None:
        """A small model that routes or titles does not give its name to the run."""
        trace = built(
            a_span(),
            a_call("a", response_model="small", output_tokens=5),
            a_call("b", response_model="small", output_tokens=5),
            a_call("c", response_model="large", output_tokens=50),
        )

        assert trace.model_version == "large"

    def test_call_that_ends_a_run_is_the_version_s(self) -> None:
        """The router answered and the worker failed: that is the worker's failure, unless the agent answered before."""
        router = a_call("a", request_model="small", response_model="small-1", output_tokens=5)
        earlier = a_call("b", request_model="large", response_model="large-1", output_tokens=9, ended_at=STARTED_AT + 1)
        failed = a_call("c", request_model="large", response_model=None, error=True, started_at=STARTED_AT + 2)

        assert built(a_span(), router, failed).model_version == "large"
        assert built(a_span(), router, earlier, failed).model_version == "large-1"
        assert built(a_span(answered=True), router, failed).model_version == "small-1"

    def test_version_that_the_sender_names_goes_before_models(self) -> None:
        """Who wants to count a prompt change as a version says so."""
        assert built(a_span(model_version="v7"), a_call("a")).model_version == "v7"

    def test_answering_model_goes_before_the_one_that_was_asked_for(self) -> None:
        """What answered is what is judged; what was asked for stands in."""
        both = built(a_span(), a_call("a", request_model="m", response_model="m-1"))
        asked = built(a_span(), a_call("a", request_model="m", response_model=None))

        assert ("m-1", True) == (both.model_version, both.floating_alias)
        assert ("m", False) == (asked.model_version, asked.floating_alias)

    @pytest.mark.parametrize(
        ("services", "expected"),
        [
            (["a", "b"], "a"),
            ([None, "b"], "b"),
            (["unknown_service:python", None], "helper"),
            ([None, None], "helper"),
            (["shop/unknown_service:python", None], "shop/helper"),
        ],
    )
    def test_service_is_the_head_s_or_the_agent_s_name(self, services: list[str | None], expected: str) -> None:
        """An SDK that nobody told a service name gives way to the agent's name."""
        head, call = services
        trace = built(a_span(service=head, agent_name="helper"), a_call("a", service=call))

        assert expected == trace.service

    def test_first_rule_wins_over_the_whole_trace(self) -> None:
        """The rule that stands first holds, on whichever span it matched."""
        trace = built(
            a_span(capability="late", capability_rule=2),
            a_call("a", capability="early", capability_rule=0),
            a_call("b", capability="middle", capability_rule=1),
        )

        assert trace.request.capability == "early"

    def test_head_knows_best_what_was_known_at_request_time(self) -> None:
        """Request attributes of all spans are put together, and the head's word goes first."""
        trace = built(a_span(attributes={"a": 1.0}), a_call("a", attributes={"a": 2.0, "b": 3.0}))

        assert {"a": 1.0, "b": 3.0} == trace.request.attributes

    def test_nothing_said_is_unclassified(self) -> None:
        """Without a rule that matches there is a class for it."""
        assert built(a_span(), a_call("a")).request.capability == "unclassified"

    def test_error_of_the_root_or_of_the_agent_fails(self) -> None:
        """The run failed if the agent did, or the application around it, or its last call."""
        outer = a_span("http", kind=OperationKind.OTHER, error=True, error_type="503")
        agent = a_span("root", parent_span_id="http")
        failed = [
            built(outer, agent, a_call("a")).outcome,
            built(a_span(error=True), a_call("a")).outcome,
            built(a_span(), a_call("a", error=True, error_type="timeout")).outcome,
            built(a_span(), a_call("a"), a_tool_call("b", started_at=STARTED_AT + 0.5, error=True)).outcome,
        ]

        assert [(False, "503"), (False, "error"), (False, "timeout"), (False, "error")] == [
            (o.success, o.failure_class) for o in failed if o
        ]

    @pytest.mark.parametrize(
        ("server", "agent", "call", "expected"),
        [
            ((True, None), (True, "CancelledError"), None, True),
            ((True, None), (True, None), "AbortError", True),
            ((None, None), (True, None), "CancelledError", True),
            ((True, None), (None, None), "CancelledError", False),
            ((True, None), (True, "KeyError"), "CancelledError", False),
            ((True, "500"), (True, "CancelledError"), None, False),
        ],
    )
    def test_run_was_stopped_if_its_cause_was(
        self,
        server: tuple[bool | None, str | None],
        agent: tuple[bool | None, str | None],
        call: str | None,
        expected: bool,  # noqa: FBT001
    ) -> None:
        """A span around what was stopped may name no error of its own."""
        http = a_span("http", kind=OperationKind.OTHER, error=server[0], error_type=server[1])
        head = a_span("root", parent_span_id="http", error=agent[0], error_type=agent[1])

        assert expected is built(http, head, a_call("a", error=bool(call) or None, error_type=call)).aborted

    @pytest.mark.parametrize(
        ("server", "agent", "calls", "expected"),
        [
            ("500", "RateLimitError", [None], "RateLimitError"),
            ("500", None, ["RateLimitError"], "RateLimitError"),
            (None, "ExceptionGroup", ["RateLimitError", "CancelledError"], "RateLimitError"),
            (None, "exceptiongroup.BaseExceptionGroup", [None], "exceptiongroup.BaseExceptionGroup"),
            (None, "FallbackExceptionGroup", ["RateLimitError"], "FallbackExceptionGroup"),
        ],
    )
    def test_cause_is_named_before_what_only_says_that_something_failed(
        self, server: str | None, agent: str | None, calls: list[str | None], expected: str
    ) -> None:
        """A server repeats its status, and a group of tasks those that it cancelled."""
        http = a_span("http", kind=OperationKind.OTHER, error=bool(server) or None, error_type=server)
        head = a_span("root", parent_span_id="http", error=True, error_type=agent)
        within = [a_call(f"c{n}", error=bool(name) or None, error_type=name) for n, name in enumerate(calls)]

        outcome = built(http, head, *within).outcome

        assert outcome is not None
        assert expected == outcome.failure_class

    def test_error_of_the_topmost_span_that_came_is_that_of_the_run(self) -> None:
        """The root may be in another system; what runs beside the agent, or below it, is not above it."""
        handler = a_span("http", parent_span_id="elsewhere", kind=OperationKind.OTHER, error=True, error_type="500")
        agent = a_span("root", parent_span_id="http")
        fine = replace(handler, error=None)
        beside = replace(handler, span_id="push", parent_span_id="http")

        ends = [built(*spans, agent, a_call("a")).outcome for spans in ((handler,), (fine, beside))]

        assert [(False, "500"), (True, None)] == [(end.success, end.failure_class) for end in ends if end]

    def test_error_around_the_whole_run_fails_whatever_a_server_answers(self) -> None:
        """The application failed and its server says nothing; a repeated attempt and a root that is fine decide."""
        server, is_fine = (a_span("http", kind=OperationKind.OTHER, error=error) for error in (None, False))
        work = a_span("work", parent_span_id="http", kind=OperationKind.OTHER, error=True, error_type="ValueError")
        again = a_call("b", "http", started_at=STARTED_AT + 2)

        told = ((server,), (server, again), (is_fine,))
        ends = [built(work, a_call("a", "work"), *spans).outcome for spans in told]

        assert ["ValueError", None, None] == [end.failure_class for end in ends if end]

    def test_error_around_one_run_of_several_fails_that_one(self) -> None:
        """A job whose third item failed after its agent was done; an error around two of them is neither's."""
        job = a_span("job", kind=OperationKind.OTHER, error=True, ended_at=STARTED_AT + 9)
        both = a_span("both", parent_span_id="job", kind=OperationKind.OTHER, error=True)
        above = ("both", "both", "item")
        item = a_span("item", parent_span_id="job", kind=OperationKind.OTHER, error=True, error_type="ValueError")
        agents = [a_span(f"a{n}", parent_span_id=parent) for n, parent in enumerate(above)]
        calls = [a_call(f"c{n}", f"a{n}") for n in range(3)]

        runs = build_traces([job, both, item, *agents, *calls], OutcomeSettings())

        assert [None, None, "ValueError"] == [run.outcome.failure_class for run in runs if run.outcome]

    def test_error_that_a_later_call_recovered_from_is_no_failure(self) -> None:
        """A fallback, a retry and a tool whose error the model was shown end well; so does an agent that answers."""
        later = a_call("z", started_at=STARTED_AT + 1.5)
        failed_last = a_tool_call("b", started_at=STARTED_AT + 0.5, error=True)
        fine = [
            built(a_span(), a_call("a", error=True), later).outcome,
            built(a_span(), a_call("a"), a_tool_call("b", error=True), later).outcome,
            built(a_span(), a_span("sub", parent_span_id="root", error=True), later).outcome,
            built(a_span(answered=True), a_call("a"), failed_last).outcome,
        ]

        assert [True] * 4 == [outcome.success for outcome in fine if outcome]

    def test_tool_that_failed_while_its_call_streamed_is_a_failure(self) -> None:
        """A streamed call ends after the tools that it calls; an agent that only repeats the call gave no answer."""
        streamed = a_call("a", ended_at=STARTED_AT + 3, calls_tools=True)
        failed = a_tool_call("b", started_at=STARTED_AT + 0.5, error=True)

        ends = [
            built(head, streamed, failed) for head in (a_span(answered=True, calls_tools=True), a_span(answered=True))
        ]

        assert [False, True] == [run.outcome.success for run in ends if run.outcome]

    def test_retry_without_an_agent_ends_well(self) -> None:
        """The first call is not above the second; a chain around both would be."""
        first = a_call("a", None, error=True, kind=OperationKind.MODEL)
        retry = a_call("b", None, started_at=STARTED_AT + 1.5)
        chain = a_span(kind=OperationKind.STEP, error=True, ended_at=STARTED_AT + 3)

        goes_on = a_call("b", started_at=STARTED_AT + 9)

        ends = [built(first, retry).outcome, built(chain, a_call("a", error=True), goes_on).outcome]

        assert [True, False] == [outcome.success for outcome in ends if outcome]

    def test_step_that_broke_around_the_last_call_ends_a_run_without_an_answer(self) -> None:
        """A guardrail of the OpenAI Agents SDK fails the turn, and agent and root end well; an answer is one."""
        turn = a_span("s", parent_span_id="root", kind=OperationKind.STEP, error=True, ended_at=STARTED_AT + 3)
        before_any, around = built(a_span(), turn), built(a_span(), turn, a_call("a", "s"))
        fine = [
            built(a_span(answered=True), turn),
            built(a_span(), turn, a_call("a", started_at=STARTED_AT + 4)),
            built(a_span(), replace(turn, started_at=STARTED_AT + 2), a_call("a")),
            built(a_span(), replace(turn, error_type="GeneratorExit"), a_call("a", "s")),
            built(a_span(), turn, replace(turn, span_id="later", error=False, started_at=STARTED_AT + 3)),
        ]

        assert [False, False, *[True] * 5] == [
            run.outcome.success for run in (before_any, around, *fine) if run.outcome
        ]

    def test_hedged_call_that_was_given_up_decides_nothing(self) -> None:
        """The other call answered, or failed; a run that a person stopped has no such other call."""
        lost = a_call("b", error=True, error_type="CancelledError", ended_at=STARTED_AT + 2, response_model=None)
        alone = replace(lost, parent_span_id=None, request_model="small")

        answered, without_agent = built(a_span(), a_call("a"), lost), built(a_call("a", None), alone)

        assert [(True, "m-1")] * 2 == [
            (run.outcome.success, run.model_version) for run in (answered, without_agent) if run.outcome
        ]
        tries = [a_span(f"t{k}", parent_span_id="root", kind=OperationKind.OTHER) for k in (1, 2)]
        apart = built(a_span(), *tries, a_call("a", "t1"), replace(lost, parent_span_id="t2")).outcome
        assert apart is not None
        assert apart.success
        failed = built(a_span(), a_call("a", error=True, error_type="429"), lost).outcome
        assert failed is not None
        assert "429" == failed.failure_class
        assert built(a_span(), lost).aborted

    def test_run_that_stopped_for_an_approval_has_no_outcome(self) -> None:
        """LangGraph's root ends well then, and a step in it says why; a call after that means that it went on."""
        asks = a_span(
            "s", parent_span_id="root", kind=OperationKind.STEP, error_type="GraphInterrupt", ended_at=STARTED_AT + 3
        )
        waits = built(a_span(), a_call("a"), asks)
        went_on = built(a_span(), asks, a_call("b", started_at=STARTED_AT + 4))

        assert (True, None) == (waits.aborted, waits.outcome)
        assert not went_on.aborted
        assert built(a_span(), a_call("a"), replace(asks, error_type="GeneratorExit")).outcome is not None
        as_failure = built(a_span(), a_call("a"), asks, aborted_fails=True).outcome
        assert as_failure is not None
        assert (False, "aborted") == (as_failure.success, as_failure.failure_class)

    def test_stream_that_never_began_names_no_model_that_answered(self) -> None:
        """Its library repeats the name that was asked for, and leaves the error to the agent."""
        call = a_call("a", request_model="m", response_model="m", output_tokens=None, answered=None)

        assert VersionBy.REQUEST is built(a_span(error=True), call).version_by
        assert VersionBy.RESPONSE is built(a_span(), call).version_by
        assert VersionBy.RESPONSE is built(a_span(error=True), replace(call, output_tokens=3)).version_by

    @pytest.mark.timeout(60)
    def test_many_calls_that_were_given_up_cost_little(self) -> None:
        """Ten thousand of them beside as many others, all in a row, are looked at once."""
        calls = [
            a_call(
                f"{k}", error=True, error_type="AbortError", started_at=STARTED_AT + k, ended_at=STARTED_AT + k + 0.5
            )
            for k in range(5_000)
        ]
        others = [replace(call, span_id=f"o{call.span_id}", error=None, error_type=None) for call in calls]

        assert 10_000 == built(a_span(), *calls, *others).steps

    def test_what_the_application_does_beside_the_agent_decides_nothing(self) -> None:
        """A title that fails or a summary that is long comes after the answer; the time of a run is its agent's."""
        http = a_span("http", kind=OperationKind.OTHER, ended_at=STARTED_AT + 9)
        agent = a_span(parent_span_id="http"), a_call("a", output_tokens=5)
        summary = a_call("t", "http", started_at=STARTED_AT + 3, response_model="small", output_tokens=500)
        title = replace(summary, error=True, error_type="429")

        for later in (summary, title):
            run = built(http, *agent, later)
            assert run.outcome is not None
            assert (True, "m-1", 1.0, 2) == (run.outcome.success, run.model_version, run.duration_seconds, run.steps)

    def test_calls_that_lost_their_agent_decide(self) -> None:
        """An agent whose calls stand beside it did not pass its context on."""
        http = a_span("http", kind=OperationKind.OTHER)
        run = built(http, a_span(parent_span_id="http"), a_call("t", "http", error=True, error_type="429"))

        assert run.outcome is not None
        assert "429" == run.outcome.failure_class

    def test_calls_of_two_services_are_runs_of_each(self) -> None:
        """One must not answer for the other; a tool that stands beside them is part of the first."""
        root = a_span(kind=OperationKind.OTHER, service="web", ended_at=STARTED_AT + 9)
        router = a_call("a", service="router")
        tool = a_tool_call("b", service="tools")
        failed = a_call("c", service="answers", error=True, error_type="X", started_at=STARTED_AT + 2)

        runs = build_traces([root, router, tool, failed], OutcomeSettings())

        assert [("router", True, 1), ("answers", False, None)] == [
            (run.service, run.outcome is not None and run.outcome.success, run.tool_calls) for run in runs
        ]

    def test_call_of_another_service_beside_an_agent_is_its_own_run(self) -> None:
        """A call of the agent's own service, or of one without a name, is made beside the agent."""
        root = a_span(kind=OperationKind.OTHER, ended_at=STARTED_AT + 9)
        agent = [a_span("a", parent_span_id="root"), a_call("b", "a")]
        beside = [a_call(name, service=name) for name in ("support-agent", "unknown_service:python")]

        runs = build_traces([root, *agent, *beside, a_call("c", service="titles")], OutcomeSettings())

        assert [("support-agent", 3), ("titles", 1)] == [(run.service, run.steps) for run in runs]

    def test_graphs_side_by_side_are_runs_of_their_own(self) -> None:
        """A batch of LangGraph runs, whose spans call themselves chains; other chains of a handler are one run."""
        batch = a_span(kind=OperationKind.OTHER, ended_at=STARTED_AT + 9)
        chains = [a_span(name, parent_span_id="root", kind=OperationKind.STEP, name="LangGraph") for name in "ab"]
        calls = [a_call(f"{chain.span_id}1", chain.span_id) for chain in chains]
        others = [replace(chain, name="RunnableSequence") for chain in chains]

        assert [1, 1] == [run.steps for run in build_traces([batch, *chains, *calls], OutcomeSettings())]
        assert [2] == [run.steps for run in build_traces([batch, *others, *calls], OutcomeSettings())]

    def test_chains_side_by_side_that_hold_an_agent_are_runs_of_their_own(self) -> None:
        """A batch of CrewAI's crews: each is a chain around its agents. A title beside them is the first one's."""
        batch = a_span(kind=OperationKind.OTHER, ended_at=STARTED_AT + 9)
        crews = [a_span(f"k{n}", parent_span_id="root", kind=OperationKind.STEP, error=n == 1) for n in range(3)]
        agents = [a_span(f"a{n}", parent_span_id=f"k{n}") for n in range(3)]
        calls = [a_call(f"c{n}", f"a{n}") for n in range(3)]

        runs = build_traces([batch, *crews, *agents, *calls, a_call("title")], OutcomeSettings())

        assert [(2, True), (1, False), (1, True)] == [(run.steps, run.outcome.success) for run in runs if run.outcome]

    def test_calls_of_a_batch_that_name_their_requests_are_runs_of_their_own(self) -> None:
        """What names none belongs to the first; what the application says is said of all."""
        job = a_span("job", kind=OperationKind.OTHER, conversation_id="night")
        items = [a_span(f"i{k}", parent_span_id="job", kind=OperationKind.OTHER, request_id=f"r{k}") for k in (1, 2)]
        calls = a_call("a", "i1"), a_call("b", "i2", error=True), a_call("c", "job", started_at=STARTED_AT - 1)

        runs = build_traces([job, *items, *calls], OutcomeSettings())

        assert [("r1", "night", 2, True), ("r2", "night", 1, False)] == [
            (run.request.request_id, run.conversation_id, run.steps, run.outcome.success) for run in runs if run.outcome
        ]

    def test_what_a_stream_brought_may_be_a_moment_after_the_call(self) -> None:
        """Logfire writes it as a record beside the call, which counts once."""
        call = a_call("a", None, name="chat", request_model="m", response_model=None)
        brought = a_call("b", None, name="streamed", request_model="m", output_tokens=9, started_at=STARTED_AT + 1.5)

        run = built(call, replace(brought, ended_at=brought.started_at))

        assert (1, 9, "m-1") == (run.steps, run.usage.output_tokens, run.model_version)

    def test_status_speaks_as_the_settings_let_it(self) -> None:
        """Silence is a success only by the settings, and never of a run that has not ended."""
        silent = (a_span(), a_call("a"))

        assert built(*silent, status="error_only").outcome is None
        assert built(*silent, status="ignored").outcome is None
        assert built(a_span(ended_at=None), a_call("a")).outcome is None
        assert built(a_span(error=True, ended_at=None), a_call("a"), status="error_only").outcome is not None

    def test_answer_is_the_agent_s_or_the_last_call_s(self) -> None:
        """The agent's own output decides, or else the call that ended last."""
        calls = a_call("a", answered=True), a_call("b", answered=False, started_at=STARTED_AT + 2)

        assert built(a_span(), *calls).answered is False
        assert built(a_span(answered=True), *calls).answered is True
        assert built(a_span(), a_call("a")).answered is None

    def test_function_around_a_stream_returns_nothing(self) -> None:
        """Its empty output says nothing where the model answered; an agent's own says that there was none."""
        call = a_call("a", answered=True)

        assert built(a_span(answered=False, kind=OperationKind.STEP), call).answered is True
        assert built(a_span(answered=False), call).answered is False

    def test_calls_whose_parents_were_dropped_are_the_agent_s(self) -> None:
        """A Collector that drops spans of the application may drop those between an agent and its calls."""
        agent = a_span(ended_at=STARTED_AT + 9)
        call, tool = (
            a_call("b", "gone-1", started_at=STARTED_AT + 2),
            a_tool_call("c", "gone-2", started_at=STARTED_AT + 3),
        )
        failed = a_call("d", "gone-3", started_at=STARTED_AT + 4, error=True, error_type="429")

        run = built(agent, call, tool, failed)

        assert run.outcome is not None
        assert (2, 1, "m-1", "429") == (run.steps, run.tool_calls, run.model_version, run.outcome.failure_class)

    def test_calls_that_lost_an_agent_of_their_own_are_no_other_s(self) -> None:
        """They ran after it, or during two, or beside it under one span that was lost."""
        agent = a_span(parent_span_id="app"), a_call("a", ended_at=STARTED_AT + 0.9)
        twin = a_span("twin", parent_span_id="app"), a_call("e", "twin", ended_at=STARTED_AT + 0.9)
        after = a_call("b", "gone", started_at=STARTED_AT + 5)
        during = a_call("c", "gone", started_at=STARTED_AT + 0.2, ended_at=STARTED_AT + 0.5)
        beside = a_call("d", "app", started_at=STARTED_AT + 0.2, ended_at=STARTED_AT + 0.5, error=True)

        assert [1, 1] == [run.steps for run in build_traces([*agent, after], OutcomeSettings())]
        assert [1, 1, 1] == [run.steps for run in build_traces([*agent, *twin, during], OutcomeSettings())]
        (run,) = build_traces([*agent, beside], OutcomeSettings())
        assert (2, True) == (run.steps, run.outcome is not None and run.outcome.success)

    def test_many_runs_in_one_trace_cost_little(self) -> None:
        """Thousands of agents side by side take hardly more than as many spans of one."""
        root = a_span(kind=OperationKind.OTHER)
        agents = [a_span(f"a{n}", parent_span_id="root", started_at=STARTED_AT + n / 1_000) for n in range(8_000)]

        started = time.process_time()
        assert len(agents) == len(build_traces([root, *agents], OutcomeSettings()))
        assert 5.0 > time.process_time() - started

    def test_ids_in_a_circle_are_survived(self) -> None:
        """A hostile trace whose spans are each other's parents is still a trace."""
        trace = built(a_call("a", "b"), a_call("b", "c"), a_call("c", "a"), a_tool_call("t", "t"))

        assert "m-1" == trace.model_version

    @pytest.mark.timeout(60)
    def test_long_chains_cost_little(self) -> None:
        """Ten thousand spans, each the parent of the next, are built at once."""
        chain = [a_call(str(n), str(n - 1) if n else None, started_at=STARTED_AT + n) for n in range(10_000)]

        assert 1 == built(*chain).steps


@pytest.mark.parametrize(
    "agent",
    [
        {"ai.operationId": "ai.streamText", "ai.model.id": "m"},
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "microsoft.agent_framework",
            "gen_ai.request.model": "m",
        },
        {"gen_ai.operation.name": "invoke_agent", "model_name": "m", "pydantic_ai.all_messages": "[]"},
    ],
)
@pytest.mark.parametrize(("tokens", "is_stopped"), [({}, True), ({"gen_ai.usage.output_tokens": 7}, False)])
def test_an_agent_whose_span_breaks_off_was_stopped_unless_its_last_call_answers(
    agent: dict[str, Any],
    tokens: dict[str, Any],
    is_stopped: bool,  # noqa: FBT001
) -> None:
    """Python's and Vercel's cancelled tasks write no error; an application may write less than the library."""

    def play(tracer: Tracer) -> None:
        chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **tokens}
        with tracer.start_as_current_span("agent", attributes=agent):
            tracer.start_span("chat m", attributes=chat).end()

    assert is_stopped == built(*decode(as_protobuf(recorded(play)), Limits()).spans).aborted


@pytest.mark.parametrize(
    ("request_model", "response_model", "expected"),
    [
        ("gpt-4o-latest", None, True),
        ("models/gemini:latest", "gemini-1.5-pro-002", True),
        ("claude-sonnet", "claude-sonnet@20250219", True),
        ("latest", None, True),
        ("gpt-4o", "gpt-4o", False),
        ("gpt-4o", "gpt-4.1-2025-04-14", False),
        ("translatest", None, False),
        ("gpt-4o", None, False),
        (None, "gpt-4o-2024-08-06", False),
    ],
)
def test_floating_aliases_are_reported(request_model: str | None, response_model: str | None, expected: bool) -> None:  # noqa: FBT001
    """An alias says that it is the latest, or a dated form of it answered."""
    assert expected is is_floating_alias(request_model, response_model)


_ids = st.sampled_from(["root", "a", "b", "c", "d", "e"])
_models = st.sampled_from([None, "m-1", "m-2"])
any_spans = st.lists(
    st.builds(
        lambda span_id, kind, parent, start, model, tokens, extra, trace: a_span(
            span_id,
            trace_id=TraceId(trace),
            kind=kind,
            parent_span_id=None if span_id == "root" else parent,
            started_at=STARTED_AT + start,
            response_model=model,
            output_tokens=tokens,
            cost_usd=None if tokens is None else tokens / 7,
            **extra,
        ),
        _ids,
        st.sampled_from(list(OperationKind)),
        _ids,
        st.integers(0, 3),
        _models,
        st.none() | st.integers(0, 9),
        st.fixed_dictionaries(
            {},
            optional={
                "text": st.sampled_from(["x", "y"]),
                "error": st.booleans(),
                "capability_rule": st.just(0),
                "capability": st.sampled_from(["p", "q"]),
                "attributes": st.dictionaries(st.sampled_from(["k", "l"]), st.integers(0, 2).map(float)),
                "ended_at": st.none(),
            },
        ),
        st.sampled_from(["t", "u"]),
    ),
    max_size=10,
)


@given(any_spans, st.randoms(use_true_random=False))
def test_trace_depends_on_the_set_of_spans_alone(spans: list[Span], dice: random.Random) -> None:
    """Any order and any repetition of the same spans builds the same trace."""
    of_one = [span for span in spans if span.trace_id == "t"]
    again = [*of_one, *dice.choices(of_one, k=3)] if of_one else []
    dice.shuffle(again)

    assert build_traces(of_one, OutcomeSettings()) == build_traces(again, OutcomeSettings())


@pytest.mark.slow
@given(any_spans)
def test_what_waits_may_be_put_down_and_taken_up(spans: list[Span]) -> None:
    """Spans that were kept as JSON build the same trace."""
    kept = [msgpack.decode(msgpack.encode(span), type=Span) for span in spans]

    assert build_traces(spans, OutcomeSettings()) == build_traces(kept, OutcomeSettings())


@pytest.mark.slow
@given(any_spans, any_spans)
def test_merging_forgets_the_order(left: list[Span], right: list[Span]) -> None:
    """Two sets of spans merged either way are the same set, and merging again changes nothing."""
    assert unique_spans([*left, *right]) == unique_spans([*right, *left])
    assert unique_spans([*left, *right]) == unique_spans([*unique_spans([*left, *right]).values(), *left])
