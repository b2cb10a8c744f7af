from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from openinference.semconv.trace import (
    EvaluationAttributes,
    MessageAttributes,
    MessageContentAttributes,
    OpenInferenceSpanKindValues,
    SpanAttributes,
    ToolAttributes,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, Tracer

from monitor.trace.decode import decode
from monitor.trace.model import Budget, Ignored, Outcome, Tool
from monitor.trace.reader import Decoded, DecodeOptions
from monitor.trace.semconv import ABORTS, ATTRIBUTES
from monitor.trace.settings import CapabilityRule, EvaluationRule, Limits, OutcomeSettings, TraceSettings
from monitor.trace.span import OperationKind, Span
from tests.trace.otlp import as_json, as_protobuf, recorded

GENAI_MESSAGES = json.dumps(
    [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Book a table"}]},
    ]
)
OPENAI_TOOL = {"type": "function", "function": {"name": "book", "description": "Books.", "parameters": {"b": 1}}}
BOOK = Tool("book", "Books.", '{"b": 1}')
ANSWER = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Done."}]}])
MODEL_CALL = {"gen_ai.operation.name": "chat"}


def one_span(
    attributes: dict[str, Any],
    *,
    resource: dict[str, Any] | None = None,
    event: tuple[str, dict[str, Any]] | None = None,
) -> tuple[ReadableSpan, ...]:
    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("the span", attributes=attributes) as span:
            if event is not None:
                span.add_event(*event)

    return recorded(play, resource)


def read(spans: tuple[ReadableSpan, ...], settings: TraceSettings | None = None, **limits: int) -> Decoded:
    """What protobuf says, after a look whether JSON says the same."""
    options = DecodeOptions(settings)
    decoded = decode(as_protobuf(spans), Limits(**limits), options)

    assert decoded == decode(json.dumps(as_json(spans)).encode(), Limits(**limits), options)

    return decoded


def read_span(attributes: dict[str, Any], **parts: Any) -> Span:
    (span,) = read(one_span(attributes, **parts)).spans
    return span


def _tool_names(decoded: Decoded) -> list[str]:
    return [tool.name for tool in decoded.spans[0].tools]


def _span(name: str) -> Callable[[Decoded], Any]:
    return lambda decoded: getattr(decoded.spans[0], name)


def _outcome(name: str) -> Callable[[Decoded], Any]:
    return lambda decoded: getattr(decoded.outcomes[0].outcome, name)


def _asked(decoded: Decoded) -> tuple[str | None, int | None]:
    return decoded.spans[0].text, decoded.spans[0].messages


OI_EVALUATION = {
    f"evaluations.0.{EvaluationAttributes.EVALUATION_NAME}": "correctness",
    f"evaluations.0.{EvaluationAttributes.EVALUATION_LABEL}": "incorrect",
}
FAILED_EVALUATION = {"gen_ai.evaluation.name": "correctness", "gen_ai.evaluation.score.label": "fail"}
EVALUATION_EVENT = "gen_ai.evaluation.result"

_MESSAGES = json.dumps([{"role": "user", "content": "Hi"}])
MESSAGES = json.dumps({"messages": [{"role": "user", "content": "Book a table"}]})
CONVERSATION_NAMES = (
    "langfuse.session.id", "langsmith.metadata.session_id", "langsmith.metadata.conversation_id",
    "traceloop.association.properties.conversation_id", "traceloop.association.properties.thread_id",
    "traceloop.association.properties.chat_id", "ai.telemetry.metadata.sessionId", "ai.telemetry.metadata.threadId",
    "ai.telemetry.metadata.chatId", "gcp.vertex.agent.session_id", "gen_ai.session.id",
)  # fmt: skip
USER_NAMES = (
    "langfuse.user.id", "langsmith.metadata.user_id", "ai.telemetry.metadata.userId", "enduser.id",
    "enduser.pseudo.id", "gen_ai.user.id",
)  # fmt: skip
INPUT_NAMES = (
    "ai.prompt",
    "ai.prompt.messages",
    "crew_tasks",
    "request_data",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "events",
    "gcp.vertex.agent.llm_request",
    "traceloop.entity.input",
    "genkit:input",
    "mlflow.spanInputs",
    "lmnr.span.input",
    "braintrust.input_json",
    "user_prompt",
    "mastra.agent_run.input",
    "mastra.model_generation.input",
    "haystack.agent.input",
    "haystack.agent.step.llm.input",
    "haystack.component.input",
    "llm.messages",
    "confident.span.input",
)
OUTPUT_NAMES = (
    "ai.response.text",
    "ai.response.toolCalls",
    "ai.response.object",
    "mlflow.spanOutputs",
    "response_data",
    "final_result",
    "gcp.vertex.agent.llm_response",
    "traceloop.entity.output",
    "genkit:output",
    "lmnr.span.output",
    "braintrust.output_json",
    "mastra.agent_run.output",
    "mastra.model_generation.output",
    "haystack.agent.output",
    "haystack.agent.step.llm.output",
    "haystack.component.output",
    "confident.span.output",
)
CACHED_NAMES = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_input_tokens",
    "llm.token_count.prompt_details.cache_read",
    "llm.token_count.prompt_details.cache_write",
    "gen_ai.usage.cache_write.input_tokens",
    "ai.usage.cachedInputTokens",
    "cache_read_tokens",
    "cache_creation_tokens",
)

REASONING_NAMES = (
    "gen_ai.usage.reasoning.output_tokens",
    "llm.token_count.completion_details.reasoning",
    "ai.usage.reasoningTokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.experimental.reasoning_tokens",
)

ROWS: dict[str, tuple[dict[str, Any], Callable[[Decoded], Any], Any]] = {
    "gen_ai.operation.name": ({"gen_ai.operation.name": "invoke_agent"}, _span("kind"), OperationKind.AGENT),
    SpanAttributes.OPENINFERENCE_SPAN_KIND: (
        {SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.TOOL.value},
        _span("kind"),
        OperationKind.TOOL,
    ),
    "langfuse.observation.type": ({"langfuse.observation.type": "generation"}, _span("kind"), OperationKind.MODEL),
    "traceloop.span.kind": ({"traceloop.span.kind": "workflow"}, _span("kind"), OperationKind.WORKFLOW),
    "gen_ai.provider.name": (
        {"gen_ai.provider.name": "openai", "gen_ai.request.model": "m"},
        _span("kind"),
        OperationKind.MODEL,
    ),
    "gen_ai.system": ({"gen_ai.system": "openai", "gen_ai.request.model": "m"}, _span("kind"), OperationKind.MODEL),
    SpanAttributes.LLM_PROVIDER: (
        {SpanAttributes.LLM_PROVIDER: "openai", "gen_ai.request.model": "m"},
        _span("kind"),
        OperationKind.MODEL,
    ),
    SpanAttributes.LLM_SYSTEM: (
        {SpanAttributes.LLM_SYSTEM: "openai", "gen_ai.request.model": "m"},
        _span("kind"),
        OperationKind.MODEL,
    ),
    "langfuse.environment": ({"langfuse.environment": "staging"}, _span("environment"), "staging"),
    "cliffwatch.model_version": ({"cliffwatch.model_version": "v7"}, _span("model_version"), "v7"),
    "gen_ai.response.model": (
        {"gen_ai.response.model": "gpt-4o-2024-08-06"},
        _span("response_model"),
        "gpt-4o-2024-08-06",
    ),
    SpanAttributes.LLM_RESPONSE_MODEL_NAME: (
        {SpanAttributes.LLM_RESPONSE_MODEL_NAME: "m-1"},
        _span("response_model"),
        "m-1",
    ),
    SpanAttributes.LLM_MODEL_NAME: ({SpanAttributes.LLM_MODEL_NAME: "m-1"}, _span("response_model"), "m-1"),
    "langfuse.observation.model.name": (
        {"langfuse.observation.model.name": "m-1"},
        _span("response_model"),
        "m-1",
    ),
    "gen_ai.request.model": ({"gen_ai.request.model": "m"}, _span("request_model"), "m"),
    SpanAttributes.LLM_REQUEST_MODEL_NAME: (
        {SpanAttributes.LLM_REQUEST_MODEL_NAME: "m"},
        _span("request_model"),
        "m",
    ),
    "gen_ai.agent.name": ({"gen_ai.agent.name": "support"}, _span("agent_name"), "support"),
    SpanAttributes.AGENT_NAME: ({SpanAttributes.AGENT_NAME: "support"}, _span("agent_name"), "support"),
    "gen_ai.workflow.name": ({"gen_ai.workflow.name": "support"}, _span("agent_name"), "support"),
    "gen_ai.agent.version": ({"gen_ai.agent.version": "1.2"}, _span("agent_version"), "1.2"),
    "langfuse.version": ({"langfuse.version": "1.2"}, _span("agent_version"), "1.2"),
    "langfuse.release": ({"langfuse.release": "1.2"}, _span("agent_version"), "1.2"),
    "gen_ai.conversation.id": ({"gen_ai.conversation.id": "c"}, _span("conversation_id"), "c"),
    SpanAttributes.SESSION_ID: ({SpanAttributes.SESSION_ID: "c"}, _span("conversation_id"), "c"),
    "cliffwatch.request_id": ({"cliffwatch.request_id": "probe-17"}, _span("request_id"), "probe-17"),
    "langfuse.experiment.item.id": ({"langfuse.experiment.item.id": "i-1"}, _span("request_id"), "i-1"),
    "gen_ai.input.messages": ({"gen_ai.input.messages": GENAI_MESSAGES}, _asked, ("Book a table", 2)),
    "llm.input_messages.N.message.*": (
        {
            f"{SpanAttributes.LLM_INPUT_MESSAGES}.0.{MessageAttributes.MESSAGE_ROLE}": "system",
            f"{SpanAttributes.LLM_INPUT_MESSAGES}.0.{MessageAttributes.MESSAGE_CONTENT}": "Be brief.",
            f"{SpanAttributes.LLM_INPUT_MESSAGES}.1.{MessageAttributes.MESSAGE_ROLE}": "user",
            f"{SpanAttributes.LLM_INPUT_MESSAGES}.1.{MessageAttributes.MESSAGE_CONTENTS}.0."
            f"{MessageContentAttributes.MESSAGE_CONTENT_TYPE}": "text",
            f"{SpanAttributes.LLM_INPUT_MESSAGES}.1.{MessageAttributes.MESSAGE_CONTENTS}.0."
            f"{MessageContentAttributes.MESSAGE_CONTENT_TEXT}": "Book a table",
        },
        _asked,
        ("Book a table", 2),
    ),
    "llm.prompts.N.prompt.text": (
        {f"{SpanAttributes.LLM_PROMPTS}.0.prompt.text": "Book a table"},
        _asked,
        ("Book a table", 1),
    ),
    "langfuse.observation.input": (
        {"langfuse.observation.input": json.dumps({"messages": [{"role": "user", "content": "Book a table"}]})},
        _asked,
        ("Book a table", 1),
    ),
    SpanAttributes.INPUT_VALUE: ({SpanAttributes.INPUT_VALUE: "Book a table"}, _asked, ("Book a table", None)),
    "langfuse.trace.input": ({"langfuse.trace.input": "Book a table"}, _asked, ("Book a table", None)),
    "gen_ai.prompt.N.*": (
        {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Book a table"},
        _asked,
        ("Book a table", 1),
    ),
    "gen_ai.prompt": (
        {"gen_ai.prompt": json.dumps([{"role": "user", "content": "Book a table"}])},
        _asked,
        ("Book a table", 1),
    ),
    "gen_ai.output.messages": ({"gen_ai.output.messages": ANSWER}, _span("answered"), True),
    "llm.output_messages.N.message.*": (
        {f"{SpanAttributes.LLM_OUTPUT_MESSAGES}.0.{MessageAttributes.MESSAGE_CONTENT}": ""},
        _span("answered"),
        False,
    ),
    "langfuse.observation.output": ({"langfuse.observation.output": "Done."}, _span("answered"), True),
    SpanAttributes.OUTPUT_VALUE: ({SpanAttributes.OUTPUT_VALUE: " "}, _span("answered"), False),
    "langfuse.trace.output": ({"langfuse.trace.output": "Done."}, _span("answered"), True),
    "gen_ai.completion.N.*": (
        {"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "Done."},
        _span("answered"),
        True,
    ),
    "gen_ai.completion": ({"gen_ai.completion": '[{"content": ""}]'}, _span("answered"), False),
    "gen_ai.tool.definitions": ({"gen_ai.tool.definitions": json.dumps([OPENAI_TOOL])}, _span("tools"), (BOOK,)),
    "llm.tools.N.tool.json_schema": (
        {f"{SpanAttributes.LLM_TOOLS}.0.{ToolAttributes.TOOL_JSON_SCHEMA}": json.dumps(OPENAI_TOOL)},
        _span("tools"),
        (BOOK,),
    ),
    SpanAttributes.LLM_INVOCATION_PARAMETERS: (
        {SpanAttributes.LLM_INVOCATION_PARAMETERS: json.dumps({"temperature": 0, "tools": [OPENAI_TOOL]})},
        _span("tools"),
        (BOOK,),
    ),
    "gen_ai.tool.name": ({"gen_ai.tool.name": "book"}, _span("tool_name"), "book"),
    SpanAttributes.TOOL_NAME: ({SpanAttributes.TOOL_NAME: "book"}, _span("tool_name"), "book"),
    "gen_ai.usage.input_tokens": ({"gen_ai.usage.input_tokens": 812}, _span("input_tokens"), 812),
    "gen_ai.usage.prompt_tokens": ({"gen_ai.usage.prompt_tokens": 812}, _span("input_tokens"), 812),
    SpanAttributes.LLM_TOKEN_COUNT_PROMPT: (
        {SpanAttributes.LLM_TOKEN_COUNT_PROMPT: 812},
        _span("input_tokens"),
        812,
    ),
    "gen_ai.usage.output_tokens": ({"gen_ai.usage.output_tokens": 90}, _span("output_tokens"), 90),
    "gen_ai.usage.completion_tokens": ({"gen_ai.usage.completion_tokens": 90}, _span("output_tokens"), 90),
    SpanAttributes.LLM_TOKEN_COUNT_COMPLETION: (
        {SpanAttributes.LLM_TOKEN_COUNT_COMPLETION: 90},
        _span("output_tokens"),
        90,
    ),
    "langfuse.observation.usage_details": (
        {"langfuse.observation.usage_details": '{"prompt_tokens": 812, "output": 90}'},
        lambda decoded: (decoded.spans[0].input_tokens, decoded.spans[0].output_tokens),
        (812, 90),
    ),
    SpanAttributes.LLM_COST_TOTAL: ({SpanAttributes.LLM_COST_TOTAL: 0.25}, _span("cost_usd"), 0.25),
    "langfuse.observation.cost_details": (
        {"langfuse.observation.cost_details": '{"input": 0.25, "output": 0.5}'},
        _span("cost_usd"),
        0.75,
    ),
    "gen_ai.usage.cost": ({"gen_ai.usage.cost": 0.25}, _span("cost_usd"), 0.25),
    SpanAttributes.LLM_COST_PROMPT: ({SpanAttributes.LLM_COST_PROMPT: 0.25}, _span("cost_usd"), 0.25),
    SpanAttributes.LLM_COST_COMPLETION: ({SpanAttributes.LLM_COST_COMPLETION: 0.5}, _span("cost_usd"), 0.5),
    "error.type": ({"error.type": "timeout"}, _span("error_type"), "timeout"),
    "langfuse.observation.level": ({"langfuse.observation.level": "ERROR"}, _span("error"), True),
    "cliffwatch.budget.tool_calls": (
        {"cliffwatch.budget.tool_calls": 5},
        _span("budget"),
        Budget(tool_calls=5),
    ),
    "cliffwatch.budget.steps": ({"cliffwatch.budget.steps": 5}, _span("budget"), Budget(steps=5)),
    "cliffwatch.budget.tokens": ({"cliffwatch.budget.tokens": 5}, _span("budget"), Budget(tokens=5)),
    "cliffwatch.budget.seconds": ({"cliffwatch.budget.seconds": 1.5}, _span("budget"), Budget(seconds=1.5)),
    "cliffwatch.request.*": (
        {"cliffwatch.request.codebase_scope": 2, "cliffwatch.request.language": "en"},
        _span("attributes"),
        {"codebase_scope": 2.0, "language": "en"},
    ),
    "evaluations.N.evaluation.*": (OI_EVALUATION, _outcome("failure_class"), "correctness"),
    "annotations.N.annotation.*": (
        {
            "annotations.0.annotation.name": "correctness",
            "annotations.0.annotation.label": "correct",
            "annotations.0.annotation.annotator_kind": "HUMAN",
        },
        _outcome("source"),
        "human",
    ),
    "trace.evaluations.N.evaluation.*": (
        {"trace.evaluations.3.evaluation.name": "q", "trace.evaluations.3.evaluation.label": "pass"},
        _outcome("success"),
        True,
    ),
    "trace.annotations.N.annotation.*": (
        {"trace.annotations.0.annotation.name": "q", "trace.annotations.0.annotation.label": "fail"},
        _outcome("success"),
        False,
    ),
    "langsmith.span.kind": ({"langsmith.span.kind": "llm"}, _span("kind"), OperationKind.MODEL),
    "llm.request.type": ({"llm.request.type": "embedding"}, _span("kind"), OperationKind.RETRIEVAL),
    "mlflow.spanType": ({"mlflow.spanType": '"CHAT_MODEL"'}, _span("kind"), OperationKind.MODEL),
    "ai.operationId": ({"ai.operationId": "ai.streamText.doStream"}, _span("kind"), OperationKind.MODEL),
    "ai.model.provider": ({"ai.model.provider": "x", "ai.model.id": "m"}, _span("kind"), OperationKind.MODEL),
    "mlflow.llm.provider": ({"mlflow.llm.provider": '"x"', "ai.model.id": "m"}, _span("kind"), OperationKind.MODEL),
    "spring.ai.kind": ({"spring.ai.kind": "vector_store"}, _span("kind"), OperationKind.RETRIEVAL),
    "mastra.span.type": ({"mastra.span.type": "agent_run"}, _span("kind"), OperationKind.AGENT),
    "ag2.span.type": ({"ag2.span.type": "usage", "gen_ai.response.model": "m"}, _span("kind"), OperationKind.OTHER),
    "haystack.component.type": ({"haystack.component.type": "OpenAIGenerator"}, _span("kind"), OperationKind.MODEL),
    "haystack.tool.name": ({"haystack.tool.name": "book"}, _span("tool_name"), "book"),
    "haystack.agent.tools": ({"haystack.agent.tools": '[{"data": {"name": "book"}}]'}, _tool_names, ["book"]),
    "llm.model": ({**MODEL_CALL, "llm.model": "m"}, _span("request_model"), "m"),
    "agentops.span.kind": ({"agentops.span.kind": "llm"}, _span("kind"), OperationKind.MODEL),
    "genkit:metadata:subtype": ({"genkit:metadata:subtype": "flow"}, _span("kind"), OperationKind.WORKFLOW),
    "span_type": ({"span_type": "LLM"}, _span("kind"), OperationKind.MODEL),
    "gen_ai.span.kind": ({"gen_ai.span.kind": "LLM"}, _span("kind"), OperationKind.MODEL),
    "braintrust.span_attributes": (
        {"braintrust.span_attributes": '{"name":"Chat Completion","type":"llm"}'},
        _span("kind"),
        OperationKind.MODEL,
    ),
    "braintrust.span_attributes.type": ({"braintrust.span_attributes.type": "tool"}, _span("kind"), OperationKind.TOOL),
    "braintrust.metadata": (
        {**MODEL_CALL, "braintrust.metadata": '{"provider":"openai","model":"gpt-4o"}'},
        _span("request_model"),
        "gpt-4o",
    ),
    "braintrust.metrics": (
        {"braintrust.metrics": '{"prompt_tokens":10,"completion_tokens":5,"tokens":15,"prompt_cached_tokens":4}'},
        lambda decoded: (decoded.spans[0].input_tokens, decoded.spans[0].output_tokens),
        (10, 5),
    ),
    "tool_name": ({"tool_name": "book"}, _span("tool_name"), "book"),
    "langfuse.observation.status_message": (
        {"langfuse.observation.level": "ERROR", "langfuse.observation.status_message": "RateLimitError: 429"},
        _span("error_type"),
        "RateLimitError",
    ),
    "lmnr.span.type": ({"lmnr.span.type": "TOOL"}, _span("kind"), OperationKind.TOOL),
    "spring.ai.tool.definition.name": (
        {"spring.ai.kind": "tool_call", "spring.ai.tool.definition.name": "book"},
        _span("tool_name"),
        "book",
    ),
    "spring.ai.model.request.tool.names": (
        {**MODEL_CALL, "spring.ai.model.request.tool.names": '["book"]'},
        _span("tools"),
        (Tool("book", "", "{}"),),
    ),
    "llm.response.model": ({"llm.response.model": "m"}, _span("response_model"), "m"),
    "ai.response.model": ({"ai.response.model": "m"}, _span("response_model"), "m"),
    "llm.request.model": ({"llm.request.model": "m"}, _span("request_model"), "m"),
    "ai.model.id": ({"ai.model.id": "m"}, _span("request_model"), "m"),
    "mlflow.llm.model": ({"mlflow.llm.model": '"m"'}, _span("request_model"), "m"),
    "langsmith.metadata.ls_model_name": ({"langsmith.metadata.ls_model_name": "m"}, _span("request_model"), "m"),
    "model_name": ({"gen_ai.operation.name": "invoke_agent", "model_name": "openai:m"}, _span("request_model"), "m"),
    "traceloop.association.properties.session_id": (
        {"traceloop.association.properties.session_id": "c"},
        _span("conversation_id"),
        "c",
    ),
    "langsmith.metadata.thread_id": ({"langsmith.metadata.thread_id": "c"}, _span("conversation_id"), "c"),
    **{
        f"{prefix}.association.properties.{key}": ({f"{prefix}.association.properties.{key}": "x"}, _span(field), "x")
        for prefix, key, field in (
            ("lmnr", "session_id", "conversation_id"),
            ("lmnr", "user_id", "user_id"),
            ("traceloop", "user_id", "user_id"),
        )
    },
    "gen_ai.response.finish_reason": ({"gen_ai.response.finish_reason": "error"}, _span("error"), True),
    "strands.cancellation.type": ({"strands.cancellation.type": "GeneratorExit"}, _span("error_type"), "GeneratorExit"),
    "finish_reason": ({"finish_reason": "cancelled"}, _span("error_type"), "cancelled"),
    "gen_ai.thread.run.status": ({"gen_ai.thread.run.status": "failed"}, _span("error"), True),
    "model": ({**MODEL_CALL, "model": '"gpt-4o"'}, _span("request_model"), "gpt-4o"),
    "genkit:name": (
        {"genkit:metadata:subtype": "model", "genkit:name": "googleai/gemini-2.5-flash"},
        _span("request_model"),
        "gemini-2.5-flash",
    ),
    "gen_ai.response.finish_reasons": ({"gen_ai.response.finish_reasons": ["error"]}, _span("error"), True),
    **{
        name: ({name: "x"}, _span(field), "x")
        for name, field in (
            ("langwatch.thread.id", "conversation_id"),
            ("langwatch.user.id", "user_id"),
            ("gen_ai.thread.id", "conversation_id"),
            ("wandb.thread_id", "conversation_id"),
            ("confident.trace.thread_id", "conversation_id"),
            ("confident.trace.user_id", "user_id"),
        )
    },
    "confident.span.type": ({"confident.span.type": "llm"}, _span("kind"), OperationKind.MODEL),
    "confident.llm.model": ({**MODEL_CALL, "confident.llm.model": "m"}, _span("request_model"), "m"),
    "confident.agent.name": ({"confident.agent.name": "support"}, _span("agent_name"), "support"),
    "confident.tool.name": ({"confident.tool.name": "book"}, _span("tool_name"), "book"),
    "langwatch.span.type": ({"langwatch.span.type": "llm"}, _span("kind"), OperationKind.MODEL),
    "fi.span.kind": ({"fi.span.kind": "TOOL"}, _span("kind"), OperationKind.TOOL),
    "langwatch.input": ({"langwatch.input": f'{{"type": "chat_messages", "value": {_MESSAGES}}}'}, _asked, ("Hi", 1)),
    "langwatch.output": ({"langwatch.output": '{"type": "text", "value": ""}'}, _span("answered"), False),
    "langwatch.params": ({"langwatch.params": '{"tools": [{"name": "book"}]}'}, _tool_names, ["book"]),
    "langwatch.metrics": (
        {"langwatch.metrics": '{"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": null}'},
        lambda decoded: (decoded.spans[0].input_tokens, decoded.spans[0].output_tokens),
        (10, 5),
    ),
    "gen_ai.input.messages.N.message.*": (
        {"gen_ai.input.messages.0.message.role": "user", "gen_ai.input.messages.0.message.content": "Hi"},
        _asked,
        ("Hi", 1),
    ),
    "gen_ai.output.messages.N.message.*": ({"gen_ai.output.messages.0.message.content": ""}, _span("answered"), False),
    "gen_ai.request.tools": ({"gen_ai.request.tools": ['[{"name": "book"}]']}, _tool_names, ["book"]),
    "gen_ai.request.parameters": ({"gen_ai.request.parameters": '{"model": "m"}'}, _span("request_model"), "m"),
    "gen_ai.request.messages": ({"gen_ai.request.messages": _MESSAGES}, _asked, ("Hi", 1)),
    "gen_ai.prompt_json": ({"gen_ai.prompt_json": _MESSAGES}, _asked, ("Hi", 1)),
    "lk.pii.user_input": ({"lk.pii.user_input": "Hi"}, _asked, ("Hi", None)),
    "lk.user_input": ({"lk.user_input": "Hi"}, _asked, ("Hi", None)),
    "lk.function_tools": ({"lk.function_tools": ["book"]}, _span("tools"), (Tool("book", "", "{}"),)),
    "lk.function_tool.name": ({"lk.function_tool.name": "book"}, _span("kind"), OperationKind.TOOL),
    "gen_ai.response.text": ({"gen_ai.response.text": ""}, _span("answered"), False),
    "gen_ai.response.tool_calls": ({"gen_ai.response.tool_calls": '[{"name": "book"}]'}, _span("answered"), True),
    "gen_ai.completion_json": ({"gen_ai.completion_json": '[""]'}, _span("answered"), False),
    "gen_ai.request.available_tools": (
        {"gen_ai.request.available_tools": '[{"name": "book"}]'},
        _tool_names,
        ["book"],
    ),
    "ai.response.finishReason": ({"ai.response.finishReason": "error"}, _span("error"), True),
    "mlflow.trace.user": ({"mlflow.trace.user": '"u"'}, _span("user_id"), "u"),
    "llm.PROVIDER.model": ({"llm.openai.model": "m"}, _span("response_model"), "m"),
    "llm.PROVIDER.messages": (
        {"llm.openai.messages": "[{'role': 'user', 'content': 'Book a \"table\"'}]"},
        _asked,
        ('Book a "table"', 1),
    ),
    "llm.PROVIDER.choices": ({"llm.openai.choices": "[{'message': {'content': 'Done.'}}]"}, _span("answered"), True),
    "llm.PROVIDER.tools": ({"llm.anthropic.tools": "[{'name': 'book'}]"}, _tool_names, ["book"]),
    "llm.PROVIDER.usage": (
        {"llm.vertex_ai.usage": "{'prompt_tokens': 10, 'completion_tokens': 5, 'total_tokens': 15, 'details': None}"},
        lambda decoded: (decoded.spans[0].input_tokens, decoded.spans[0].output_tokens),
        (10, 5),
    ),
    "langsmith.trace.session_id": ({"langsmith.trace.session_id": "c"}, _span("conversation_id"), "c"),
    "user.id": ({"user.id": "u"}, _span("user_id"), "u"),
    "mlflow.trace.session": ({"mlflow.trace.session": '"c"'}, _span("conversation_id"), "c"),
    "llm.request.functions.N.*": ({"llm.request.functions.0.name": "book"}, _tool_names, ["book"]),
    "gen_ai.request.functions.N.*": ({"gen_ai.request.functions.0.name": "book"}, _tool_names, ["book"]),
    "ai.prompt.tools": ({"ai.prompt.tools": ['{"type": "function", "name": "book"}']}, _tool_names, ["book"]),
    "mlflow.chat.tools": ({"mlflow.chat.tools": json.dumps([OPENAI_TOOL])}, _tool_names, ["book"]),
    "model_request_parameters": (
        {"model_request_parameters": json.dumps({"function_tools": [{"name": "book"}]})},
        _tool_names,
        ["book"],
    ),
    "gen_ai.agent.tools": ({"gen_ai.agent.tools": '["book"]'}, _tool_names, ["book"]),
    "ai.toolCall.name": ({"ai.toolCall.name": "book"}, _span("tool_name"), "book"),
    "mlflow.chat.tokenUsage": (
        {"mlflow.chat.tokenUsage": json.dumps({"input_tokens": 10, "output_tokens": 5, "total_tokens": 15})},
        lambda decoded: (decoded.spans[0].input_tokens, decoded.spans[0].output_tokens),
        (10, 5),
    ),
    "gen_ai.cost.total_tokens": ({"gen_ai.cost.total_tokens": "0.5"}, _span("cost_usd"), 0.5),
    "gen_ai.usage.cost.total": ({"gen_ai.usage.cost.total": 0.5}, _span("cost_usd"), 0.5),
    "gen_ai.cost.total_cost": ({"gen_ai.cost.total_cost": 0.5}, _span("cost_usd"), 0.5),
    "ai.response.providerMetadata": (
        {"ai.response.providerMetadata": '{"openai": {"reasoningTokens": 5}, "gateway": {"cost": "0.5"}}'},
        _span("cost_usd"),
        0.5,
    ),
    "operation.cost": ({"operation.cost": 0.5}, _span("cost_usd"), 0.5),
    "llm.response.cost": ({"llm.response.cost": 0.5}, _span("cost_usd"), 0.5),
    "mlflow.llm.cost": ({"mlflow.llm.cost": json.dumps({"total_cost": 0.5})}, _span("cost_usd"), 0.5),
    "gen_ai.cost.input_cost": ({"gen_ai.cost.input_cost": 0.25}, _span("cost_usd"), 0.25),
    "gen_ai.cost.output_cost": ({"gen_ai.cost.output_cost": 0.25}, _span("cost_usd"), 0.25),
    **{name: ({name: "c"}, _span("conversation_id"), "c") for name in CONVERSATION_NAMES},
    **{name: ({name: "u"}, _span("user_id"), "u") for name in USER_NAMES},
    **{
        name: ({name: 0.25}, _span("cost_usd"), 0.25)
        for name in ("gen_ai.usage.total_cost", "gen_ai.usage.input_cost", "gen_ai.usage.output_cost")
    },
    **{name: ({name: MESSAGES}, _asked, ("Book a table", 1)) for name in INPUT_NAMES},
    **{name: ({name: "Done."}, _span("answered"), True) for name in OUTPUT_NAMES},
    **{name: ({"gen_ai.usage.input_tokens": 10, name: 90}, _span("input_tokens"), 100) for name in CACHED_NAMES},
    **{name: ({"gen_ai.usage.output_tokens": 10, name: 90}, _span("output_tokens"), 100) for name in REASONING_NAMES},
    **{
        name: ({name: 3}, _span("input_tokens"), 3)
        for name in (
            "ai.usage.inputTokens",
            "ai.usage.promptTokens",
            "llm.usage.prompt_tokens",
            "confident.llm.input_token_count",
            "input_tokens",
        )
    },
    **{
        name: ({name: 3}, _span("output_tokens"), 3)
        for name in (
            "ai.usage.outputTokens",
            "ai.usage.completionTokens",
            "llm.usage.completion_tokens",
            "confident.llm.output_token_count",
            "output_tokens",
        )
    },
}


RESOURCE_ROWS: dict[str, tuple[str, str]] = {
    "service.name": ("service", "support-agent"),
    "service.namespace": ("service", "shop"),
    "deployment.environment.name": ("environment", "staging"),
    "deployment.environment": ("environment", "staging"),
    "service.version": ("agent_version", "1.2"),
}
EVENT_ROWS: dict[str, tuple[str, dict[str, Any], Callable[[Decoded], Any], Any]] = {
    "exception.message": (
        "exception",
        {"exception.type": "Exception", "exception.message": "ValueError('no seats')"},
        _span("error_type"),
        "ValueError",
    ),
    "exception.type": ("exception", {"exception.type": "TimeoutError"}, _span("error_type"), "TimeoutError"),
    "gen_ai.evaluation.name": (EVALUATION_EVENT, FAILED_EVALUATION, _outcome("evaluation"), "correctness"),
    "gen_ai.evaluation.score.value": (
        EVALUATION_EVENT,
        {**FAILED_EVALUATION, "gen_ai.evaluation.score.value": 0.25},
        _outcome("score"),
        0.25,
    ),
    "gen_ai.evaluation.score.label": (EVALUATION_EVENT, FAILED_EVALUATION, _outcome("success"), False),
    "cliffwatch.outcome.sampling_probability": (
        EVALUATION_EVENT,
        {**FAILED_EVALUATION, "cliffwatch.outcome.sampling_probability": 0.05},
        _outcome("sampling_probability"),
        0.05,
    ),
    "evaluation.annotator_kind": (
        EVALUATION_EVENT,
        {**FAILED_EVALUATION, "evaluation.annotator_kind": "HUMAN"},
        _outcome("source"),
        "human",
    ),
    "annotation.annotator_kind": (
        EVALUATION_EVENT,
        {**FAILED_EVALUATION, "annotation.annotator_kind": "LLM"},
        _outcome("source"),
        "judge",
    ),
}


def test_every_row_of_the_table_has_a_case() -> None:
    """No name is in the table that no test reads from real bytes."""
    assert {row.name for row in ATTRIBUTES} == ROWS.keys() | RESOURCE_ROWS.keys() | EVENT_ROWS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_span_attribute_tells_its_fact(name: str) -> None:
    """Each name on a span, written by the SDK in protobuf and in JSON, arrives where the table says."""
    attributes, fact, expected = ROWS[name]

    assert expected == fact(read(one_span(attributes)))


@pytest.mark.parametrize("name", RESOURCE_ROWS)
def test_resource_attribute_tells_its_fact(name: str) -> None:
    """Each name on a resource arrives at the spans under it."""
    field, value = RESOURCE_ROWS[name]

    resource = {"service.name": "support-agent", name: value}

    assert value in getattr(read_span({}, resource=resource), field)


@pytest.mark.parametrize("name", EVENT_ROWS)
def test_event_attribute_tells_its_fact(name: str) -> None:
    """Each name on a span's event arrives where the table says."""
    event, attributes, fact, expected = EVENT_ROWS[name]

    assert expected == fact(read(one_span(MODEL_CALL, event=(event, attributes))))


@pytest.mark.parametrize(
    ("better", "worse", "field"),
    [
        ({"gen_ai.response.model": "a"}, {"langfuse.observation.model.name": "b"}, "response_model"),
        ({"gen_ai.usage.input_tokens": 1}, {"gen_ai.usage.prompt_tokens": 2}, "input_tokens"),
        ({"gen_ai.usage.input_tokens": 1}, {"langfuse.observation.usage_details": '{"input": 2}'}, "input_tokens"),
        ({"gen_ai.operation.name": "chat"}, {"openinference.span.kind": "CHAIN"}, "kind"),
        ({"llm.cost.total": 1.0}, {"llm.cost.prompt": 0.5}, "cost_usd"),
    ],
)
def test_first_name_of_the_table_wins(better: dict[str, Any], worse: dict[str, Any], field: str) -> None:
    """Of two names for one fact the table's first is read, in whatever order they stand on the span."""
    expected = getattr(read_span(better), field)

    assert expected == getattr(read_span({**better, **worse}), field) == getattr(read_span({**worse, **better}), field)


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-4-v1:0", "anthropic.claude-4-v1:0"),
        ("us.anthropic.claude-4-v1:0", "anthropic.claude-4-v1:0"),
        ("projects/p/locations/l/publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("accounts/fireworks/models/llama-v3", "llama-v3"),
        ("openrouter/anthropic/claude-4", "claude-4"),
        ("azure/gpt-4o", "gpt-4o"),
        ("meta-llama/openai/x", "meta-llama/openai/x"),
        ("us-gov.anthropic.claude-4-v1:0", "anthropic.claude-4-v1:0"),
        ("bedrock/us-east-1/anthropic.claude-4-v1:0", "anthropic.claude-4-v1:0"),
        ("bedrock/invoke/us.anthropic.claude-4-v1:0", "anthropic.claude-4-v1:0"),
        ("azure/eu/gpt-4o", "gpt-4o"),
        ("@openai/gpt-4o", "gpt-4o"),
        ("@our-team-1/gpt-4o", "gpt-4o"),
        ("@cf/meta/llama-3.1-8b-instruct", "cf/meta/llama-3.1-8b-instruct"),
        ("gateway/openai:gpt-5", "gpt-5"),
        ("vercel_ai_gateway/openai/gpt-4o", "gpt-4o"),
        ("nebius/Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("azureml://registries/azure-openai/models/gpt-4o/versions/1", "gpt-4o/versions/1"),
        ("perplexity/sonar-pro", "sonar-pro"),
        ("mistral:mistral-large-2411", "mistral-large-2411"),
        ("ollama/mistral:7b-instruct", "mistral:7b-instruct"),
        ("mistral:latest", "mistral:latest"),
        ("unknown", None),
        ("<unknown>", None),
        ("N/A", None),
        ("z-ai/glm-4.6", "glm-4.6"),
        ("openrouter/x-ai/grok-4", "grok-4"),
        ("mistralai:mistral-large-2411", "mistral-large-2411"),
        ("azure/responses/gpt-5", "gpt-5"),
        ("bedrock/converse/eu.anthropic.claude-4-v1:0", "anthropic.claude-4-v1:0"),
        ("accounts/acme/deployments/abc123", "abc123"),
        ("fireworks:accounts/fireworks/models/llama-v3", "llama-v3"),
        ("litellm:openai/gpt-4o", "gpt-4o"),
        ("hf:meta-llama/Llama-3", "meta-llama/Llama-3"),
        ("fallback:gpt-5,claude-opus-5", "gpt-5"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "ft:gpt-4o-mini-2024-07-18:acme::abc"),
    ],
)
def test_a_gateway_is_no_part_of_a_version(written: str, read_as: str | None) -> None:
    """What gateways write before a model's name is left out, and nothing from its middle; `unknown` names none."""
    assert read_as == read_span({**MODEL_CALL, "gen_ai.response.model": written}).response_model


@pytest.mark.parametrize("name", ["input.value", "gen_ai.prompt", "gen_ai.input.messages", "gen_ai.tool.definitions"])
@pytest.mark.parametrize(
    "printed",
    ["{'ids': {1, 2}}", "{'file': b'abc'}", "[{'a': ...}]", "{'n': 1j}", "{'a': {(1, 2): 3}}"],
)
def test_what_python_prints_and_json_cannot_hold_is_read_all_the_same(name: str, printed: str) -> None:
    """A set or bytes among printed arguments ends no service."""
    assert OperationKind.MODEL is read_span({**MODEL_CALL, name: printed}).kind


def test_all_that_a_cache_held_or_took_was_input() -> None:
    """Anthropic counts what it read from a cache and wrote to one beside the input; OpenAI counts them within it."""
    cache = {"gen_ai.usage.cache_read.input_tokens": 900, "gen_ai.usage.cache_creation.input_tokens": 50}

    assert 960 == read_span({**MODEL_CALL, "gen_ai.usage.input_tokens": 10, **cache}).input_tokens
    assert 1_000 == read_span({**MODEL_CALL, "gen_ai.usage.input_tokens": 1_000, **cache}).input_tokens


def test_what_a_model_thought_came_out() -> None:
    """AI SDK 5 counts the thoughts of Gemini beside the output; others count them within it."""
    for output, expected in ((50, 650), (600, 600), (700, 700)):
        tokens = {"gen_ai.usage.output_tokens": output, "ai.usage.reasoningTokens": 600}
        assert expected == read_span({**MODEL_CALL, **tokens}).output_tokens


def test_metadata_of_a_provider_may_hold_no_cost() -> None:
    """Numbers of other things are none."""
    summed = {"total_cost": 0.5, "breakdown": {"input": 0.4}}
    assert 0.5 == read_span({**MODEL_CALL, "mlflow.llm.cost": json.dumps(summed)}).cost_usd
    openrouter = {"openrouter": {"usage": {"promptTokens": 100, "cost": 0.25}, "provider": "x"}}
    for metadata, expected in (({"openai": {"reasoningTokens": 5}}, None), ({}, None), (openrouter, 0.25)):
        assert expected == read_span({**MODEL_CALL, "ai.response.providerMetadata": json.dumps(metadata)}).cost_usd


def test_a_guardrail_does_not_answer() -> None:
    """Its model judges, however much it writes."""
    guard = {**MODEL_CALL, "gen_ai.response.model": "meta-llama/Llama-Guard-3-8B"}

    assert OperationKind.EVALUATOR is read_span({"openinference.span.kind": "GUARDRAIL"}).kind
    assert OperationKind.RETRIEVAL is read_span(guard).kind


def test_an_operation_of_another_name_that_writes_tokens_is_a_model_s() -> None:
    """A library may call it what it likes; what writes none is a step."""
    named = {"gen_ai.operation.name": "improvise", "gen_ai.response.model": "m-1"}

    assert OperationKind.MODEL is read_span({**named, "gen_ai.usage.output_tokens": 5}).kind
    assert OperationKind.STEP is read_span(named).kind


@pytest.mark.parametrize(
    "model",
    ["whisper-1", "gpt-4o-transcribe", "tts-1-hd", "dall-e-3", "gpt-image-1", "BAAI/bge-m3", "sora-2", "veo-3.0"],
)
def test_a_model_of_sound_or_pictures_does_not_answer(model: str) -> None:
    """It hears, speaks or draws beside the model that does."""
    assert OperationKind.RETRIEVAL is read_span({"gen_ai.system": "openai", "gen_ai.request.model": model}).kind


def test_a_stream_that_broke_off_has_told_who_answered() -> None:
    """A failed call counts for that version; a name that only repeats what was asked for tells nothing."""
    failed = {**MODEL_CALL, "error.type": "timeout", "gen_ai.request.model": "m"}
    broken, repeated = (read_span({**failed, "gen_ai.response.model": name}) for name in ("m-1", "m"))

    assert [("m", "m-1"), ("m", None)] == [(span.request_model, span.response_model) for span in (broken, repeated)]


@pytest.mark.parametrize(
    "text",
    [
        "__REDACTED__", "<REDACTED>", "[redacted]", "REDACTED", "[Filtered]", "<masked>", "[content omitted]", "*****",
        "[Scrubbed due to 'password']", "<REDACTED BY POLICY>", "████",
    ],
)  # fmt: skip
def test_what_stands_for_a_text_is_none(text: str) -> None:
    """Or all questions would be one."""
    assert read_span({**MODEL_CALL, "input.value": text}).text is None
    assert "Is it redacted?" == read_span({**MODEL_CALL, "input.value": "Is it redacted?"}).text


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "failed", "expired", "error"])
def test_answer_that_broke_is_an_error(reason: str) -> None:
    """Of a call whose status says nothing; what was cut off or filtered is an answer like others."""
    assert read_span({**MODEL_CALL, "gen_ai.response.finish_reasons": [reason]}).error
    assert not read_span({**MODEL_CALL, "gen_ai.response.finish_reasons": ["length", "content_filter"]}).error


@pytest.mark.parametrize(
    "output",
    [
        {"output.value": '{"candidates":[{"content":{"parts":null},"finish_reason":"MALFORMED_FUNCTION_CALL"}]}'},
        {"output.value": '{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}], "modelVersion": "m"}'},
        {"gen_ai.output.messages": '[{"role": "assistant", "parts": [], "finish_reason": "error"}]'},
        {"gen_ai.completion.0.finish_reason": "error"},
        {"output.value": '{"object": "response", "status": "failed", "output": [], "parallel_tool_calls": true}'},
        {"langfuse.observation.output": '{"choices": [{"message": {"content": null}, "finish_reason": "error"}]}'},
    ],
)
def test_answer_that_holds_nothing_says_why_it_broke(output: dict[str, str]) -> None:
    """Where its library has no attribute for that; an answer with a text in it is one, whatever the text says."""
    said = {"output.value": '{"text": "You asked for \\"finish_reason\\": \\"error\\"."}'}

    assert read_span({**MODEL_CALL, **output}).error
    assert not read_span({**MODEL_CALL, **said}).error


def test_version_may_be_a_number() -> None:
    """On a span, on its resource, or in an attribute that the settings name: 7 and 8 are two releases."""
    settings = TraceSettings(version_attributes=("release",))
    resource = {"service.name": "shop", "cliffwatch.model_version": 8}

    assert "7" == read_span({**MODEL_CALL, "cliffwatch.model_version": 7}).model_version
    assert "8" == read(one_span(MODEL_CALL, resource=resource)).spans[0].model_version
    assert "9" == read(one_span({**MODEL_CALL, "release": 9}), settings).spans[0].model_version
    assert read_span({**MODEL_CALL, "cliffwatch.model_version": True}).model_version is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("agent_run [writer]", OperationKind.AGENT),
        ("call_llm", OperationKind.OTHER),
        ("turn", OperationKind.WORKFLOW),
        ("GET [x]", OperationKind.OTHER),
    ],
)
def test_span_without_a_kind_is_recognised_by_its_name(name: str, kind: OperationKind) -> None:
    """A run of Google ADK that failed says nothing else; a function of any application may be called `call_llm`."""

    def play(tracer: Tracer) -> None:
        tracer.start_span(name).end()

    assert kind is read(recorded(play)).spans[0].kind


def test_flow_is_no_model() -> None:
    """Genkit names flows and models alike."""
    flow = read_span({"genkit:metadata:subtype": "flow", "genkit:name": "menuFlow"})

    assert (OperationKind.WORKFLOW, None) == (flow.kind, flow.request_model)


def test_answer_that_was_stopped_is_no_success() -> None:
    """OpenAI's responses end as cancelled where somebody cancelled them."""
    stopped = read_span({**MODEL_CALL, "gen_ai.response.finish_reasons": ["cancelled"]})

    assert (True, "cancelled") == (stopped.error, stopped.error_type)
    assert ABORTS.search("cancelled")


def test_span_that_names_a_model_and_wrote_tokens_is_its_call() -> None:
    """Whether or not it names the provider, too."""
    spans = {"gen_ai.request.model": "m", "gen_ai.usage.output_tokens": 3}, {"gen_ai.request.model": "m"}

    assert [OperationKind.MODEL, OperationKind.STEP] == [read_span(each).kind for each in spans]


def test_call_of_an_operation_of_another_name_that_failed_is_a_model_s_too() -> None:
    """A call that failed has written nothing; without it, the calls of that name would all be successes."""
    asked = {"gen_ai.operation.name": "improvise", "gen_ai.system": "openai", "gen_ai.request.model": "m-1"}
    tool = {"gen_ai.operation.name": "improvise", "gen_ai.tool.name": "book"}

    kinds = [read_span(each).kind for each in ({**asked, "error.type": "429"}, asked, tool)]

    assert [OperationKind.MODEL, OperationKind.STEP, OperationKind.TOOL] == kinds
    assert OperationKind.STEP is read_span({**asked, "error.type": "none"}).kind


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("OpenAI._prepare_chat_with_tools", {"openinference.span.kind": "LLM"}),
        ("execute_tool (merged)", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "(merged tools)"}),
    ],
)
def test_what_a_library_does_around_calls_is_no_call(name: str, named: dict[str, Any]) -> None:
    """LlamaIndex puts the input together, and Google ADK the results of tools that it called side by side."""

    def play(tracer: Tracer) -> None:
        tracer.start_span(name, attributes=named).end()

    assert [OperationKind.STEP] == [span.kind for span in read(recorded(play)).spans]


def test_memory_that_failed_is_no_call_of_a_model() -> None:
    """Whatever model it remembers by."""
    asked = {"gen_ai.provider.name": "mem0", "gen_ai.request.model": "m-1", "error.type": "timeout"}

    assert OperationKind.RETRIEVAL is read_span({"gen_ai.operation.name": "search_memory", **asked}).kind


def test_claude_code_is_read() -> None:
    """Its names have no prefix; what it read from a cache is beside the input."""
    asked = {"span.type": "llm_request", "gen_ai.system": "anthropic", "gen_ai.request.model": "claude-opus-5"}
    tokens = {"input_tokens": 2, "output_tokens": 90, "cache_read_tokens": 800, "cache_creation_tokens": 70}
    call, tool = (read_span(each) for each in (asked | tokens, {"span.type": "tool", "tool_name": "Bash"}))

    assert (OperationKind.MODEL, 872, 90) == (call.kind, call.input_tokens, call.output_tokens)
    assert OperationKind.TOOL is tool.kind
    assert OperationKind.OTHER is read_span({"span.type": "web"}).kind


def test_span_of_a_workflow_is_recognised_by_its_name() -> None:
    """Microsoft Agent Framework writes no kind on it, and its agents are one request."""

    def play(tracer: Tracer) -> None:
        for name in ("workflow.run", "workflow.build"):
            tracer.start_span(name, attributes={"workflow.id": "w"}).end()

    assert [OperationKind.WORKFLOW, OperationKind.OTHER] == [span.kind for span in read(recorded(play)).spans]


def error_type_of_call(named: Mapping[str, str], message: str) -> str | None:
    """What is read of a model call that failed with *message*."""

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("s", attributes={**MODEL_CALL, **named}) as span:
            span.set_status(Status(StatusCode.ERROR, message))

    [span] = read(recorded(play)).spans
    return span.error_type


@pytest.mark.parametrize(
    "message",
    [
        "context canceled",
        "rpc error: code = Canceled desc = context canceled",
        "The operation was aborted.",
        "The user aborted a request.",
        "Request was aborted.",
        "Run cancelled by user",
        "Client disconnected",
        "cancelled",
    ],
)
@pytest.mark.parametrize(
    "named", [{}, *({"error.type": name} for name in ("*errors.errorString", "*url.Error", "Error"))]
)
def test_who_stopped_a_run_is_stated_in_words(named: dict[str, str], message: str) -> None:
    """Go and JavaScript name no type for it."""
    assert ABORTS.search(error_type_of_call(named, message) or "")


@pytest.mark.parametrize(
    ("named", "message", "is_stopped"),
    [
        ("499", "", True),
        ("20", "This operation was aborted", True),
        ("23", "The operation was aborted due to timeout", False),
        ("500", "UNKNOWN: Request was aborted.", True),
        ("1", "1 CANCELLED: Cancelled on client", True),
        ("409", "ABORTED: Exceeded maximum tool call iterations (2)", False),
        ("ABORT_ERR", "The operation was aborted", True),
        ("langgraph.errors.GraphInterrupt", "(Interrupt(value='ok?'),)", True),
        ("pydantic_ai.exceptions.ApprovalRequired", "", True),
        ("kotlinx.coroutines.TimeoutCancellationException", "", False),
        ("DOMException", "This operation was aborted", True),
        ("client_closed_request", "", True),
        ("starlette.websockets.WebSocketDisconnect", "", True),
        ("websocket_error", "", False),
        ("org.springframework.web.context.request.async.AsyncRequestNotUsableException", "Broken pipe", True),
        ("redis.exceptions.ClientClosed", "", False),
        ("reactor.core.Exceptions$CancelException", "The subscriber has denied dispatching", True),
        ("org.apache.catalina.connector.ClientAbortException", "java.io.IOException: Broken pipe", True),
        ("java.io.IOException", "Canceled", True),
        ("java.io.InterruptedIOException", "timeout", False),
        ("*url.Error", 'Post "https://api.openai.com/v1/chat/completions": context canceled', True),
        ("*url.Error", 'Post "https://api.openai.com/v1/chat/completions": context deadline exceeded', False),
        ("openai.APIUserAbortError", "", True),
        ("ResponseAborted", "", True),
        ("agno.exceptions.RunCancelledException", "", True),
        ("aborted_by_user", "", True),
        ("client_disconnected", "", True),
        ("ECANCELED", "", True),
        ("ERR_CANCELED", "", True),
        ("ECONNABORTED", "timeout of 1000ms exceeded", False),
        ("ConnectionAbortedError", "[Errno 103] Software caused connection abort", False),
        ("google.api_core.exceptions.Aborted", "409 The transaction was aborted", False),
        ("TransactionAborted", "", False),
        ("OrderCancelledError", "", False),
        ("order_cancelled", "", False),
        ("psycopg.errors.QueryCanceled", "canceling statement due to statement timeout", False),
        ("ExecutionCancelledError", "", True),
        ("GenerationCancelled", "", True),
        ("turn_aborted", "", True),
        ("return_cancelled", "", False),
        ("rejected_by_user", "", True),
        ("rate_limit_exceeded_by_user", "", False),
        ("HumanInputRequired", "", True),
        ("System.Threading.Tasks.TaskCanceledException", "A task was canceled.", True),
        (
            "System.Threading.Tasks.TaskCanceledException",
            "The request was canceled due to the configured HttpClient.Timeout of 100 seconds elapsing.",
            False,
        ),
        ("", "1 CANCELLED: Cancelled on client", True),
        ("", "rpc error: code = Canceled desc = stream terminated by RST_STREAM with error code: CANCEL", True),
        ("", "StatusCode.CANCELLED", True),
        (
            "grpc.aio._call.AioRpcError",
            "<AioRpcError of RPC that terminated with:\n\tstatus = StatusCode.CANCELLED",
            True,
        ),
        ("io.grpc.StatusRuntimeException", "CANCELLED: client cancelled", True),
        ("Grpc.Core.RpcException", 'Status(StatusCode="Cancelled", Detail="Call canceled by the client.")', True),
        ("grpc.RpcError", "4 DEADLINE_EXCEEDED: Deadline exceeded", False),
        ("", "10 ABORTED: The transaction was aborted", False),
        ("", "rpc error: code = Aborted desc = the transaction was aborted", False),
        ("", "The order was CANCELLED: no refund", False),
        ("", "1 Cancelled order", False),
    ],
)
def test_a_timeout_is_no_stop_and_a_wait_for_approval_is_one(named: str, message: str, is_stopped: bool) -> None:  # noqa: FBT001
    """Kotlin and .NET cancel what takes too long; agents raise to wait for a person; Node names errors by codes."""
    error_type = error_type_of_call({"error.type": named}, message)

    assert is_stopped == (ABORTS.search(error_type or "") is not None)


@pytest.mark.parametrize("message", ["Connection aborted.", "User cancelled order 17 was not found"])
def test_who_was_refused_did_not_stop(message: str) -> None:
    """A connection that the network aborted is an error like others, and so is what is said about orders."""
    assert error_type_of_call({}, message) is None


@pytest.mark.parametrize(
    "name", ["", " ", "-", "none", "None", "null", "OK", "STATUS_OK", "UNSET", "0", "200", "no_error", "no error"]
)
def test_error_type_of_none_is_no_error(name: str) -> None:
    """Micrometer and others write the attribute on every span."""
    fine = read_span({**MODEL_CALL, "error.type": name})
    failed = read_span(
        {**MODEL_CALL, "error.type": name, "exception.type": "KeyError", "langfuse.observation.level": "ERROR"}
    )

    assert (None, None) == (fine.error, fine.error_type)
    assert (True, "KeyError") == (failed.error, failed.error_type)


def test_generator_that_nobody_read_to_its_end_is_named() -> None:
    """LangChain says it in the message alone."""
    assert ABORTS.search(error_type_of_call({}, "GeneratorExit()") or "")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "InputGuardrailTripwireTriggered: Guardrail InputGuardrail triggered tripwire",
            "InputGuardrailTripwireTriggered",
        ),
        ("Error code: 429 - {'error': {'code': 'rate_limit_exceeded'}}", "429"),
        ("An error occurred (ThrottlingException) when calling the Converse operation", "ThrottlingException"),
        ("rpc error: code = DeadlineExceeded desc = context deadline exceeded", "DeadlineExceeded"),
        ("14 UNAVAILABLE: No connection established", "UNAVAILABLE"),
        ("io.grpc.StatusRuntimeException: UNAVAILABLE: io exception", "UNAVAILABLE"),
        ("Azure.Identity.AuthenticationFailedException: no token", "Azure.Identity.AuthenticationFailedException"),
        ("42 Questions: none was answered", None),
        ("The code = 7 was wrong", None),
    ],
)
def test_error_is_named_by_its_message(message: str, expected: str | None) -> None:
    """Some libraries write no type: the OpenAI Agents SDK, Langfuse, clients of gRPC."""
    assert expected == error_type_of_call({}, message)


def test_error_type_says_that_an_operation_failed() -> None:
    """OpenTelemetry keeps the attribute for failures; an exception that was caught is none, and OK is OK."""

    def play(tracer: Tracer) -> None:
        tracer.start_span("a", attributes={**MODEL_CALL, "error.type": "timeout"}).end()
        caught = tracer.start_span("b", attributes=MODEL_CALL)
        caught.add_event("exception", {"exception.type": "KeyError"})
        caught.end()
        with tracer.start_as_current_span("c", attributes={**MODEL_CALL, "error.type": "timeout"}) as fine:
            fine.set_status(Status(StatusCode.OK))

    assert [True, None, False] == [span.error for span in read(recorded(play)).spans]


def test_ids_of_people_may_be_numbers() -> None:
    """They join by their digits."""
    assert ("42", "7") == (
        (span := read_span({"user.id": 42, "session.id": 7, **MODEL_CALL})).user_id,
        span.conversation_id,
    )


def test_parts_of_a_message_may_be_one_attribute() -> None:
    """OpenLLMetry writes them as JSON; a question that is JSON itself stays what it is."""
    parts = json.dumps([{"type": "text", "text": "Book a table"}])
    said = json.dumps({"order": 5})

    assert (
        "Book a table"
        == read_span({**MODEL_CALL, "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": parts}).text
    )
    assert said == read_span({**MODEL_CALL, "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": said}).text


@pytest.mark.parametrize("wrong", ["", "many", -3, True, 1e300, [1]])
def test_value_of_a_wrong_type_counts_as_absent(wrong: Any) -> None:
    """A name whose value makes no sense gives way to the next name."""
    span = read_span({**MODEL_CALL, "gen_ai.usage.input_tokens": wrong, "gen_ai.usage.prompt_tokens": 7})

    assert span.input_tokens == 7


def test_messages_may_be_structured_attributes_of_an_event() -> None:
    """Content that an event carries, as lists and objects and not as JSON text, is read as if it stood on the span."""
    event = "gen_ai.client.inference.operation.details"
    messages = [{"role": "user", "parts": [{"type": "text", "content": "Book a table"}]}]

    assert read_span(MODEL_CALL, event=(event, {"gen_ai.input.messages": json.dumps(messages)})).text == "Book a table"


@pytest.mark.parametrize(
    "attributes",
    [
        {"content": "Hi"},
        {"content": '[{"type": "text", "text": "Hi"}]'},
        {"gen_ai.event.content": '{"role": "user", "content": "Hi"}'},
        {"gen_ai.event.content": '{"role": "user", "content": {"text": {"value": "Hi", "annotations": []}}}'},
    ],
)
def test_messages_may_be_events(attributes: dict[str, Any]) -> None:
    """Azure AI writes each as JSON; of an answer it does the same."""
    assert ("Hi", 1) == _asked(read(one_span(MODEL_CALL, event=("gen_ai.user.message", attributes))))

    choice = {"gen_ai.event.content": '{"message": {"content": "Done."}, "finish_reason": "stop", "index": 0}'}
    assert read_span(MODEL_CALL, event=("gen_ai.choice", choice)).answered


def test_a_long_message_of_an_event_is_whole_and_no_attribute_that_was_cut() -> None:
    """A message is read once; only the reason why it ended is read as a fact of its span."""
    event = ("gen_ai.user.message", {"content": "x" * 80, "finish_reason": "cancelled"})

    decoded = read(one_span(MODEL_CALL, event=event), max_attribute_chars=64)

    assert ("x" * 80, "cancelled") == (decoded.spans[0].text, decoded.spans[0].error_type)
    assert {} == decoded.ignored


def test_status_tells_errors_from_silence() -> None:
    """An error status is an error, OK is said to be fine, and unset says nothing."""

    def play(tracer: Tracer) -> None:
        for code in (StatusCode.ERROR, StatusCode.OK, StatusCode.UNSET):
            with tracer.start_as_current_span("s", attributes=MODEL_CALL) as span:
                span.set_status(Status(code))

    assert [True, False, None] == [span.error for span in read(recorded(play)).spans]


def test_tool_input_is_not_what_was_asked() -> None:
    """What goes into a tool or an evaluator is the model's text, not the request's."""
    tool = read_span({"openinference.span.kind": "TOOL", "input.value": "secret"})

    assert (None, ()) == (tool.text, tool.tools)


def test_labels_are_mended_and_counted() -> None:
    """A name outside the alphabet of labels is changed and counted; the trace is not lost."""
    decoded = read(one_span(MODEL_CALL, resource={"service.name": "support agent\n(beta)"}))

    assert decoded.spans[0].service == "support_agent__beta_"
    assert decoded.ignored[Ignored.LABEL_MENDED] >= 1


def test_of_spans_of_the_application_no_more_than_place_and_error_are_kept() -> None:
    """An agent's span may stand below one; only the root may say more."""

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("POST /chat"):
            with tracer.start_as_current_span("SELECT"):
                pass
            with tracer.start_as_current_span("PUT", attributes={"error.type": "503"}) as span:
                span.set_status(StatusCode.ERROR)

    decoded = read(recorded(play))

    assert ["", "", "POST /chat"] == [span.name for span in decoded.spans]
    assert [(None, None), (True, "503"), (None, None)] == [(span.error, span.error_type) for span in decoded.spans]
    assert {Ignored.SPAN_IRRELEVANT: 2} == decoded.ignored


def test_application_span_with_our_attributes_is_kept() -> None:
    """A budget may stand on any span, and so may a session and request attributes; it stays the application's."""

    def play(tracer: Tracer) -> None:
        with (
            tracer.start_as_current_span("POST /chat"),
            tracer.start_as_current_span("plan", attributes={"cliffwatch.budget.steps": 3}),
            tracer.start_as_current_span("handle", attributes={"session.id": "s", "cliffwatch.request.size": 4}),
        ):
            pass

    decoded = read(recorded(play))

    assert {("POST /chat", None, None), ("plan", 3, None), ("handle", None, "s")} == {
        (span.name, span.budget.steps, span.conversation_id) for span in decoded.spans
    }
    assert [{"size": 4.0}] == [span.attributes for span in decoded.spans if span.attributes]
    assert {OperationKind.OTHER} == {span.kind for span in decoded.spans}


def test_long_text_is_cut_and_long_json_left_out() -> None:
    """Half a JSON document would pass for text, so it is left out; both are counted."""
    spans = one_span({**MODEL_CALL, "input.value": "x" * 80, "gen_ai.output.messages": "[" + "1," * 80 + "1]"})

    decoded = read(spans, max_attribute_chars=64)

    assert "x" * 64 == decoded.spans[0].text
    assert decoded.spans[0].answered is None
    assert decoded.ignored == {Ignored.ATTRIBUTE_CUT: 2}


def test_request_text_is_cut_to_what_is_kept() -> None:
    """The text of a waiting span is bounded by its own limit."""
    assert read(one_span({**MODEL_CALL, "input.value": "x" * 80}), max_text_chars=64).spans[0].text == "x" * 64


def test_excess_attributes_are_counted() -> None:
    """Attributes beyond the limit are not read."""
    attributes = {**{f"a{i}": i for i in range(5)}, "gen_ai.operation.name": "chat"}

    decoded = read(one_span(attributes, resource={}), max_attributes=5)

    assert OperationKind.OTHER is decoded.spans[0].kind
    assert decoded.ignored == {Ignored.ATTRIBUTE_EXCESS: 1}


def a_context(trace_id: int) -> SpanContext:
    return SpanContext(trace_id, 5, is_remote=True, trace_flags=TraceFlags(1))


def test_evaluator_with_a_link_judges_the_linked_trace() -> None:
    """Feedback after the fact is about the trace that its carrier links to."""

    def play(tracer: Tracer) -> None:
        kind = {"openinference.span.kind": "EVALUATOR"}
        with tracer.start_as_current_span("eval", attributes={**kind, **OI_EVALUATION}, links=[Link(a_context(0xABC))]):
            pass

    (event,) = read(recorded(play)).outcomes

    assert event.trace_id == f"{0xABC:032x}"


def test_evaluator_with_two_links_judges_its_own_trace() -> None:
    """Two links name no single target."""

    def play(tracer: Tracer) -> None:
        kind = {"openinference.span.kind": "EVALUATOR"}
        links = [Link(a_context(0xABC)), Link(a_context(0xDEF))]
        with tracer.start_as_current_span("eval", attributes={**kind, **OI_EVALUATION}, links=links):
            pass

    decoded = read(recorded(play))

    assert decoded.spans[0].trace_id == decoded.outcomes[0].trace_id


def test_link_of_another_span_is_no_target() -> None:
    """A span that carries feedback on itself may link to whatever it likes."""

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span(
            "s", attributes={**MODEL_CALL, **OI_EVALUATION}, links=[Link(a_context(0xABC))]
        ):
            pass

    decoded = read(recorded(play))

    assert decoded.spans[0].trace_id == decoded.outcomes[0].trace_id


def test_evaluations_without_a_rule_are_counted() -> None:
    """A score of which nobody knows the good end says nothing, and is counted."""
    spans = one_span({**MODEL_CALL, "evaluations.0.evaluation.name": "q", "evaluations.0.evaluation.score": 0.2})

    assert {Ignored.EVALUATION_UNMAPPED: 1} == read(spans).ignored

    rule = EvaluationRule(name="q", fails_below=0.5)
    (event,) = read(spans, TraceSettings(outcomes=OutcomeSettings(evaluations=(rule,)))).outcomes

    assert event.outcome == Outcome(
        success=False,
        failure_class="q",
        score=0.2,
        source="judge",
        labelled_at=event.outcome.labelled_at,
        evaluation="q",
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (CapabilityRule(look_at="attribute", attribute="intent"), "refund"),
        (CapabilityRule(look_at="attribute", attribute="team"), "billing"),
        (CapabilityRule(look_at="span_name", pattern="the (.*)", capability=r"kind-\1"), "kind-span"),
        (CapabilityRule(look_at="tool_name", pattern="pay.*", capability="payments"), "payments"),
        (CapabilityRule(look_at="tool_name", pattern="pay", capability="payments"), None),
    ],
    ids=["span attribute", "resource attribute", "span name with a group", "tool name", "pattern is of the whole"],
)
def test_capability_rule_looks_where_it_says(rule: CapabilityRule, expected: str | None) -> None:
    """A rule looks at an attribute of span or resource, at the span's name, or at the tool that was called."""
    spans = one_span(
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "pay_back", "intent": "refund"},
        resource={"team": "billing"},
    )

    (span,) = read(spans, TraceSettings(capabilities=(rule,))).spans

    assert expected == span.capability


def test_family_with_hostile_indices_is_ignored() -> None:
    """Names that only look like a flattened list do no harm."""
    names = ["x", "-1", "99999999", "\u0661", "0.0", ""]

    span = read_span({**MODEL_CALL, **{f"llm.input_messages.{name}.message.content": "a" for name in names}})

    assert (None, 1) == (span.text, span.messages)


def _as_read_alone(spans: tuple[ReadableSpan, ...], settings: TraceSettings | None = None) -> Decoded:
    """What is read of each span by a reader that has read nothing before."""
    alone = [decode(as_protobuf((span,)), Limits(), DecodeOptions(settings)) for span in spans]
    ignored = sum((Counter(each.ignored) for each in alone), Counter[Ignored]())
    return Decoded(spans=[span for each in alone for span in each.spans], ignored=dict(ignored))


_ALIKE: list[dict[str, Any]] = [
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book"},
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book", "version": 1},
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book", "version": True},
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book", "version": 1.0},
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book", "version": "1"},
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book", "error.type": "TimeoutError"},
    {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "the agent", "gen_ai.usage.input_tokens": 3},
    {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "the agent", "gen_ai.usage.input_tokens": 4},
    {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "the agent", "gen_ai.conversation.id": "c-1"},
    {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "the agent", "gen_ai.conversation.id": "c-2"},
    {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "the agent", "gen_ai.input.messages": GENAI_MESSAGES},
    {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "a" * 200},
    {"url.path": "/", "cliffwatch.request.size": 1},
    {"url.path": "/", "cliffwatch.request.size": 2},
    {"url.path": "/"},
]


@pytest.mark.parametrize("settings", [TraceSettings(), TraceSettings(version_attributes=("version",))])
def test_a_span_says_the_same_whatever_was_read_before(settings: TraceSettings) -> None:
    """What spans have in common is remembered; what one of them says for itself is not said of the next."""

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("root"):
            for number, attributes in enumerate(_ALIKE * 2):
                with tracer.start_as_current_span("the span", attributes=attributes) as span:
                    if number % 4 == 1:
                        span.set_status(StatusCode.ERROR, "it broke")
                    if number % 5 == 2:
                        span.add_event("exception", {"exception.type": "ValueError"})

    spans = recorded(play, {"service.name": "the service", "version": True})
    alone = _as_read_alone(spans, settings)
    options = DecodeOptions(settings)
    for _ in range(2):
        together = decode(as_protobuf(spans), Limits(), options)
        assert repr(alone.spans) == repr([*together.spans])
        # The label of the resource is mended once in each record.
        mended = {Ignored.LABEL_MENDED: alone.ignored[Ignored.LABEL_MENDED] - (len(spans) - 1)}
        assert {**alone.ignored, **mended} == together.ignored


@pytest.mark.slow
@pytest.mark.parametrize("holder", ["span", "resource"])
def test_endless_names_do_not_fill_the_memory(holder: str) -> None:
    """What is remembered of spans is bounded, whatever hostile senders make up."""
    options = DecodeOptions(TraceSettings(version_attributes=("version",)))

    def a_record(number: int) -> bytes:
        def play(tracer: Tracer) -> None:
            for each in range(100 if holder == "span" else 1):
                name = f"{number} {each}"
                told = {f"gen_ai.{what}": f"{what} {name}" for what in ("agent.name", "tool.name", "request.model")}
                with tracer.start_as_current_span(name, attributes=told):
                    pass

        return as_protobuf(recorded(play, {"version": f"{number} " * 20_000} if holder == "resource" else None))

    records = [a_record(number) for number in range(80)]
    tracemalloc.start()
    for record in records:
        decode(record, Limits(), options)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 4_000_000
