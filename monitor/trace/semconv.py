"""
The one table of attribute names: what OpenTelemetry, OpenInference and Langfuse call the things that we read.

Where several names stand for the same fact, the first of the table that a span carries wins. Names with `N` or `*` are
families: flattened lists (`llm.input_messages.0.message.role`), or whatever follows the prefix.

`python -m monitor.trace.semconv` prints the table of docs/traces.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from monitor.trace.span import OperationKind


class Field(StrEnum):
    """What an attribute tells us."""

    KIND = "kind of span"
    PROVIDER = "provider (a span that has one is a model call)"
    SERVICE = "service"
    NAMESPACE = "service, before the name"
    ENVIRONMENT = "environment"
    MODEL_VERSION = "model version, as the sender wants it counted"
    RESPONSE_MODEL = "model that answered"
    REQUEST_MODEL = "model that was asked for"
    AGENT_NAME = "agent"
    AGENT_VERSION = "agent version"
    CONVERSATION = "conversation"
    USER = "user"
    REQUEST_ID = "request that comes again"
    INPUT = "request text, messages"
    OUTPUT = "answer (whether there is one, and the model that it names)"
    TOOLS = "tools on offer"
    TOOL_NAME = "tool that was called"
    CACHED_TOKENS = "input tokens from or for a cache, where input tokens leave them out"
    INPUT_TOKENS = "input tokens"
    OUTPUT_TOKENS = "output tokens"
    TOKENS = "input and output tokens"
    COST = "cost"
    COST_PART = "cost, added up"
    ERROR_TYPE = "failure class of an error"
    ERROR_MESSAGE = "failure class of an error, where its type says nothing"
    LEVEL = "status"
    BUDGET_TOOL_CALLS = "budget: tool calls"
    BUDGET_STEPS = "budget: steps"
    BUDGET_TOKENS = "budget: tokens"
    BUDGET_SECONDS = "budget: seconds"
    REQUEST_ATTRIBUTE = "request attribute"
    EVALUATION = "outcome"
    EVALUATION_NAME = "outcome: evaluation"
    EVALUATION_SCORE = "outcome: score"
    EVALUATION_LABEL = "outcome: label"
    EVALUATION_SOURCE = "outcome: source"


class Convention(StrEnum):
    """Who named an attribute."""

    OPENTELEMETRY = "OpenTelemetry"
    GENAI = "OpenTelemetry GenAI"
    OPENINFERENCE = "OpenInference"
    LANGFUSE = "Langfuse"
    OPENLLMETRY = "OpenLLMetry"
    LANGSMITH = "LangSmith"
    MLFLOW = "MLflow"
    VERCEL = "Vercel AI SDK"
    LITELLM = "LiteLLM"
    PYDANTIC = "Pydantic AI, Logfire"
    ADK = "Google ADK"
    CREWAI = "CrewAI"
    STRANDS = "Strands"
    SPRING = "Spring AI"
    MASTRA = "Mastra"
    AGENTOPS = "AgentOps"
    GENKIT = "Genkit"
    PROMPTFLOW = "Promptflow"
    CLIFFWATCH = "Cliffwatch"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row: *name* of an attribute, the *fact* that it tells, whose name it is, and whether its owner gave it up."""

    name: str
    fact: Field
    convention: Convention
    deprecated: bool = False

    @property
    def prefix(self) -> str | None:
        """What the names of a family have in common, or None for a single name."""
        head, family, _ = self.name.partition(".N.")
        if family:
            return f"{head}."
        return self.name.removesuffix("*") if self.name.endswith(".*") else None


def _rows(fact: Field, *names: tuple[Convention, str] | tuple[Convention, str, bool]) -> Iterator[Attribute]:
    for convention, name, *deprecated in names:
        yield Attribute(name, fact, convention, *deprecated)


_OTEL, _GENAI, _OPENINFERENCE = Convention.OPENTELEMETRY, Convention.GENAI, Convention.OPENINFERENCE
_LANGFUSE, _OPENLLMETRY, _OURS = Convention.LANGFUSE, Convention.OPENLLMETRY, Convention.CLIFFWATCH
_LANGSMITH, _MLFLOW, _VERCEL = Convention.LANGSMITH, Convention.MLFLOW, Convention.VERCEL
_LITELLM, _PYDANTIC, _ADK = Convention.LITELLM, Convention.PYDANTIC, Convention.ADK
_CREWAI, _STRANDS, _SPRING = Convention.CREWAI, Convention.STRANDS, Convention.SPRING
_MASTRA, _AGENTOPS, _GENKIT = Convention.MASTRA, Convention.AGENTOPS, Convention.GENKIT
_PROMPTFLOW = Convention.PROMPTFLOW
_DEPRECATED = True

ATTRIBUTES: tuple[Attribute, ...] = (
    *_rows(
        Field.KIND,
        (_LANGSMITH, "langsmith.span.kind"),
        (_GENAI, "gen_ai.operation.name"),
        (_OPENINFERENCE, "openinference.span.kind"),
        (_LANGFUSE, "langfuse.observation.type"),
        (_OPENLLMETRY, "traceloop.span.kind"),
        (_OPENLLMETRY, "llm.request.type"),
        (_MLFLOW, "mlflow.spanType"),
        (_VERCEL, "ai.operationId"),
        (_SPRING, "spring.ai.kind"),
        (_MASTRA, "mastra.span.type"),
        (_AGENTOPS, "agentops.span.kind"),
        (_GENKIT, "genkit:metadata:subtype"),
        (_PROMPTFLOW, "span_type"),
    ),
    *_rows(
        Field.PROVIDER,
        (_GENAI, "gen_ai.provider.name"),
        (_OPENINFERENCE, "llm.provider"),
        (_OPENINFERENCE, "llm.system"),
        (_VERCEL, "ai.model.provider"),
        (_MLFLOW, "mlflow.llm.provider"),
        (_GENAI, "gen_ai.system", _DEPRECATED),
    ),
    *_rows(Field.SERVICE, (_OTEL, "service.name")),
    *_rows(Field.NAMESPACE, (_OTEL, "service.namespace")),
    *_rows(
        Field.ENVIRONMENT,
        (_LANGFUSE, "langfuse.environment"),
        (_OTEL, "deployment.environment.name"),
        (_OTEL, "deployment.environment", _DEPRECATED),
    ),
    *_rows(Field.MODEL_VERSION, (_OURS, "cliffwatch.model_version")),
    *_rows(
        Field.RESPONSE_MODEL,
        (_GENAI, "gen_ai.response.model"),
        (_OPENINFERENCE, "llm.response.model_name"),
        (_OPENINFERENCE, "llm.model_name"),
        (_LANGFUSE, "langfuse.observation.model.name"),
        (_VERCEL, "ai.response.model"),
        (_PROMPTFLOW, "llm.response.model"),
    ),
    *_rows(
        Field.REQUEST_MODEL,
        (_GENAI, "gen_ai.request.model"),
        (_OPENINFERENCE, "llm.request.model_name"),
        (_OPENLLMETRY, "llm.request.model", _DEPRECATED),
        (_VERCEL, "ai.model.id"),
        (_MLFLOW, "mlflow.llm.model"),
        (_LANGSMITH, "langsmith.metadata.ls_model_name"),
        (_PYDANTIC, "model_name"),
    ),
    *_rows(Field.AGENT_NAME, (_GENAI, "gen_ai.agent.name"), (_OPENINFERENCE, "agent.name")),
    *_rows(
        Field.AGENT_VERSION,
        (_GENAI, "gen_ai.agent.version"),
        (_LANGFUSE, "langfuse.version"),
        (_LANGFUSE, "langfuse.release"),
        (_OTEL, "service.version"),
    ),
    *_rows(
        Field.CONVERSATION,
        (_GENAI, "gen_ai.conversation.id"),
        (_OTEL, "session.id"),
        (_OPENLLMETRY, "traceloop.association.properties.session_id"),
        (_LANGSMITH, "langsmith.trace.session_id"),
        (_MLFLOW, "mlflow.trace.session"),
    ),
    *_rows(Field.USER, (_OTEL, "user.id")),
    *_rows(Field.REQUEST_ID, (_OURS, "cliffwatch.request_id"), (_LANGFUSE, "langfuse.experiment.item.id")),
    *_rows(
        Field.INPUT,
        (_GENAI, "gen_ai.input.messages"),
        (_OPENINFERENCE, "llm.input_messages.N.message.*"),
        (_OPENINFERENCE, "llm.prompts.N.prompt.text"),
        (_LANGFUSE, "langfuse.observation.input"),
        (_VERCEL, "ai.prompt.messages"),
        (_VERCEL, "ai.prompt"),
        (_MLFLOW, "mlflow.spanInputs"),
        (_OPENINFERENCE, "input.value"),
        (_CREWAI, "crew_tasks"),
        (_PYDANTIC, "request_data"),
        (_PYDANTIC, "pydantic_ai.all_messages"),
        (_PYDANTIC, "all_messages_events"),
        (_PYDANTIC, "events"),
        (_ADK, "gcp.vertex.agent.llm_request"),
        (_OPENLLMETRY, "traceloop.entity.input"),
        (_GENKIT, "genkit:input"),
        (_LANGFUSE, "langfuse.trace.input", _DEPRECATED),
        (_OPENLLMETRY, "gen_ai.prompt.N.*", _DEPRECATED),
        (_GENAI, "gen_ai.prompt", _DEPRECATED),
    ),
    *_rows(
        Field.OUTPUT,
        (_GENAI, "gen_ai.output.messages"),
        (_OPENINFERENCE, "llm.output_messages.N.message.*"),
        (_LANGFUSE, "langfuse.observation.output"),
        (_VERCEL, "ai.response.text"),
        (_VERCEL, "ai.response.toolCalls"),
        (_VERCEL, "ai.response.object"),
        (_MLFLOW, "mlflow.spanOutputs"),
        (_OPENINFERENCE, "output.value"),
        (_PYDANTIC, "response_data"),
        (_PYDANTIC, "final_result"),
        (_ADK, "gcp.vertex.agent.llm_response"),
        (_OPENLLMETRY, "traceloop.entity.output"),
        (_GENKIT, "genkit:output"),
        (_LANGFUSE, "langfuse.trace.output", _DEPRECATED),
        (_OPENLLMETRY, "gen_ai.completion.N.*", _DEPRECATED),
        (_GENAI, "gen_ai.completion", _DEPRECATED),
    ),
    *_rows(
        Field.TOOLS,
        (_GENAI, "gen_ai.tool.definitions"),
        (_OPENINFERENCE, "llm.tools.N.tool.json_schema"),
        (_OPENLLMETRY, "llm.request.functions.N.*"),
        (_VERCEL, "ai.prompt.tools"),
        (_MLFLOW, "mlflow.chat.tools"),
        (_PYDANTIC, "model_request_parameters"),
        (_OPENINFERENCE, "llm.invocation_parameters"),
        (_STRANDS, "gen_ai.agent.tools"),
    ),
    *_rows(
        Field.TOOL_NAME,
        (_GENAI, "gen_ai.tool.name"),
        (_OPENINFERENCE, "tool.name"),
        (_VERCEL, "ai.toolCall.name"),
        (_SPRING, "spring.ai.tool.definition.name"),
    ),
    *_rows(
        Field.INPUT_TOKENS,
        (_GENAI, "gen_ai.usage.input_tokens"),
        (_OPENINFERENCE, "llm.token_count.prompt"),
        (_VERCEL, "ai.usage.inputTokens"),
        (_VERCEL, "ai.usage.promptTokens", _DEPRECATED),
        (_GENAI, "gen_ai.usage.prompt_tokens", _DEPRECATED),
        (_OPENLLMETRY, "llm.usage.prompt_tokens", _DEPRECATED),
    ),
    *_rows(
        Field.OUTPUT_TOKENS,
        (_GENAI, "gen_ai.usage.output_tokens"),
        (_OPENINFERENCE, "llm.token_count.completion"),
        (_VERCEL, "ai.usage.outputTokens"),
        (_VERCEL, "ai.usage.completionTokens", _DEPRECATED),
        (_GENAI, "gen_ai.usage.completion_tokens", _DEPRECATED),
        (_OPENLLMETRY, "llm.usage.completion_tokens", _DEPRECATED),
    ),
    *_rows(
        Field.CACHED_TOKENS,
        (_GENAI, "gen_ai.usage.cache_read.input_tokens"),
        (_GENAI, "gen_ai.usage.cache_creation.input_tokens"),
        (_OPENLLMETRY, "gen_ai.usage.cache_read_input_tokens"),
        (_OPENLLMETRY, "gen_ai.usage.cache_creation_input_tokens"),
        (_OPENINFERENCE, "llm.token_count.prompt_details.cache_read"),
        (_OPENINFERENCE, "llm.token_count.prompt_details.cache_write"),
    ),
    *_rows(Field.TOKENS, (_LANGFUSE, "langfuse.observation.usage_details"), (_MLFLOW, "mlflow.chat.tokenUsage")),
    *_rows(
        Field.COST,
        (_OPENINFERENCE, "llm.cost.total"),
        (_LANGFUSE, "langfuse.observation.cost_details"),
        (_LITELLM, "gen_ai.cost.total_cost"),
        (_LANGFUSE, "gen_ai.usage.cost"),
        (_PYDANTIC, "operation.cost"),
        (_LITELLM, "llm.response.cost"),
        (_MLFLOW, "mlflow.llm.cost"),
    ),
    *_rows(
        Field.COST_PART,
        (_OPENINFERENCE, "llm.cost.prompt"),
        (_OPENINFERENCE, "llm.cost.completion"),
        (_LITELLM, "gen_ai.cost.input_cost"),
        (_LITELLM, "gen_ai.cost.output_cost"),
    ),
    *_rows(Field.ERROR_TYPE, (_OTEL, "error.type"), (_OTEL, "exception.type")),
    *_rows(Field.ERROR_MESSAGE, (_OTEL, "exception.message")),
    *_rows(Field.LEVEL, (_LANGFUSE, "langfuse.observation.level")),
    *_rows(Field.BUDGET_TOOL_CALLS, (_OURS, "cliffwatch.budget.tool_calls")),
    *_rows(Field.BUDGET_STEPS, (_OURS, "cliffwatch.budget.steps")),
    *_rows(Field.BUDGET_TOKENS, (_OURS, "cliffwatch.budget.tokens")),
    *_rows(Field.BUDGET_SECONDS, (_OURS, "cliffwatch.budget.seconds")),
    *_rows(Field.REQUEST_ATTRIBUTE, (_OURS, "cliffwatch.request.*")),
    *_rows(
        Field.EVALUATION,
        (_OPENINFERENCE, "evaluations.N.evaluation.*"),
        (_OPENINFERENCE, "annotations.N.annotation.*"),
        (_OPENINFERENCE, "trace.evaluations.N.evaluation.*"),
        (_OPENINFERENCE, "trace.annotations.N.annotation.*"),
    ),
    *_rows(Field.EVALUATION_NAME, (_GENAI, "gen_ai.evaluation.name")),
    *_rows(Field.EVALUATION_SCORE, (_GENAI, "gen_ai.evaluation.score.value")),
    *_rows(Field.EVALUATION_LABEL, (_GENAI, "gen_ai.evaluation.score.label")),
    *_rows(
        Field.EVALUATION_SOURCE,
        (_OPENINFERENCE, "evaluation.annotator_kind"),
        (_OPENINFERENCE, "annotation.annotator_kind"),
    ),
)

EVALUATION_EVENT = "gen_ai.evaluation.result"
"""Event, on a span or in a log, that carries one evaluation."""

EVENT_NAME = "event.name"
"""Attribute that named the event of a log record before log records had a field for it."""

EVENTS: dict[str, Field | None] = {
    EVALUATION_EVENT: Field.EVALUATION,
    "gen_ai.system.message": Field.INPUT,
    "gen_ai.user.message": Field.INPUT,
    "gen_ai.assistant.message": Field.INPUT,
    "gen_ai.tool.message": Field.INPUT,
    "gen_ai.choice": Field.OUTPUT,
    "gen_ai.client.inference.operation.details": None,
    "gen_ai.content.prompt": None,
    "gen_ai.content.completion": None,
    "feature_flag": None,
    "feature_flag.evaluation": None,
    "exception": None,
}
"""Span events that are read: as an evaluation, as one message, or (None) as if they stood on the span itself."""

FLAG_KEY, FLAG_VARIANTS = "feature_flag.key", ("feature_flag.result.variant", "feature_flag.variant")

_KINDS: dict[OperationKind, str] = {
    OperationKind.MODEL: (
        "chat generate_content text_completion completion llm chat_model generation response responses inference "
        "generatetext streamtext generateobject streamobject call_llm ai.generatetext.dogenerate "
        "ai.streamtext.dostream ai.generateobject.dogenerate ai.streamobject.dostream model llm_generation "
        "model_generation"
    ),
    OperationKind.AGENT: (
        "invoke_agent agent invoke_graph invoke_swarm run_agent agent_run chat_client process_thread_run "
        "ai.generatetext ai.streamtext ai.generateobject ai.streamobject"
    ),
    OperationKind.WORKFLOW: "invoke_workflow workflow workflow_run flow",
    OperationKind.TOOL: "execute_tool tool ai.toolcall mcp_tool_call agent_handoff handoff tool_call",
    OperationKind.RETRIEVAL: (
        "embeddings embedding embed embedder indexer vector_store vectordb "
        "retriever retrieval reranker rerank vector_db search ai.embed ai.embedmany "
        "ai.embed.doembed ai.embedmany.doembed"
    ),
    OperationKind.STEP: "chain prompt parser task guardrail memory step",
    OperationKind.EVALUATOR: "evaluator evaluation evaluate scorer judge",
    OperationKind.OTHER: "create_agent experiment queue",
}
OPERATION_KINDS: dict[str, OperationKind] = {name: kind for kind, names in _KINDS.items() for name in names.split()}
"""Kinds of operation under all their names, in lower case; any other name is a step."""

NOT_ANSWERING = re.compile(r"embed|rerank|moderation", re.IGNORECASE)
"""Names of models that answer nobody, whatever kind of span their library writes for them."""

PROVIDER_PREFIX = re.compile(
    r"(?:(?:openai|azure|azure_ai|azure_openai|anthropic|models|google|google_genai|gemini|vertex_ai|google_vertexai|googleai|vertexai|"
    r"bedrock|bedrock/converse|converse|litellm_proxy|openrouter|publishers/[a-z]+/models|groq|mistral|cohere|xai|"
    r"deepseek|together_ai|fireworks_ai|ollama|ollama_chat|hosted_vllm|huggingface|azure-openai|openai-responses|"
    r"google-gla|google-vertex|bedrock_converse)[/:])+",
    re.IGNORECASE,
)
"""What gateways and frameworks write before the name of a model."""

ABORTS = re.compile(
    r"(?:Cancel(?:l?ed|l?ation)\w*|Abort(?:ed)?(?:Error|Exception)?|UserAbort\w*|KeyboardInterrupt|GeneratorExit|"
    r"ClientDisconnect\w*|InterruptedException|context canceled)$",
    re.IGNORECASE,
)
"""Errors that say that somebody stopped the run."""

ERROR_LEVEL = "ERROR"
"""Value of Langfuse's level that says an observation failed."""


def main() -> None:
    """Print the table of docs/traces.md."""
    sys.stdout.write(as_markdown())


def as_markdown() -> str:
    """The table as docs/traces.md shows it: one line for each fact and convention, names in order of precedence."""
    lines = ["| what | read from, the first that is there | named by |", "|---|---|---|"]
    for fact in Field:
        rows = [row for row in ATTRIBUTES if row.fact is fact]
        for row in rows:
            name = f"`{row.name}`" + (" (deprecated)" if row.deprecated else "")
            lines.append(f"| {fact} | {name} | {row.convention} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
