"""
The table of attribute names: what OpenTelemetry, OpenInference, Langfuse and others call the facts that we read.

If a span has the same fact under several names, the first one in the table counts. Names with `N` or `*` are families:
flattened lists (`llm.input_messages.0.message.role`), or any name with the prefix.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import NamedTuple

from monitor.trace.span import OperationKind


def table(name: str) -> Iterable[Mapping[str, str]]:
    """Rows of the file *name* in order, by the titles of its columns."""
    return csv.DictReader(files("monitor.trace").joinpath(name).read_text(encoding="utf-8").splitlines())


class Field(StrEnum):
    """The fact that an attribute states."""

    KIND = "kind of span"
    PROVIDER = "provider (a span that has one is a model call)"
    SERVICE = "service"
    NAMESPACE = "namespace of the service"
    ENVIRONMENT = "environment"
    MODEL_VERSION = "model version, set by the sender"
    RESPONSE_MODEL = "model that answered"
    REQUEST_MODEL = "requested model"
    CALLED_MODEL = "requested model, of a model call"
    AGENT_NAME = "agent"
    AGENT_VERSION = "agent version"
    CONVERSATION = "conversation"
    USER = "user"
    REQUEST_ID = "request id"
    INPUT = "request text, messages"
    OUTPUT = "answer (whether there is one, and the model that it names)"
    TOOLS = "tools on offer"
    TOOL_NAME = "tool that was called"
    CACHED_TOKENS = "input tokens read from a cache, if input tokens exclude them"
    CACHE_WRITTEN_TOKENS = "input tokens written to a cache, if input tokens exclude them"
    REASONING_TOKENS = "reasoning tokens, if output tokens exclude them"
    INPUT_TOKENS = "input tokens"
    OUTPUT_TOKENS = "output tokens"
    TOKENS = "input and output tokens"
    COST = "cost"
    COST_PART = "cost, a part of the sum"
    ERROR_TYPE = "failure class of an error"
    ERROR_MESSAGE = "failure class of an error, if its type says nothing"
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
    EVALUATION_CHANCE = "outcome: sampling probability"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row: the *name* of an attribute, its *fact*, the convention that defines it, and whether it is deprecated."""

    name: str
    fact: Field
    convention: str
    deprecated: bool = False

    @property
    def prefix(self) -> str:
        """The common prefix of a family; empty for a single name."""
        head, family, _ = self.name.partition(".N.")
        if family:
            return f"{head}."
        return self.name.removesuffix("*") if self.name.endswith(".*") else ""


ATTRIBUTES = tuple(
    Attribute(row["name"], Field[row["fact"]], row["convention"], bool(row["deprecated"]))
    for row in table("attribute_names.csv")
)
"""The rows of `attribute_names.csv`, the best name of a fact first."""

EVALUATION_EVENT = "gen_ai.evaluation.result"
"""Event, on a span or in a log, that carries one evaluation."""

EVENT_NAME = "event.name"
"""Attribute with the name of a log record's event, from before log records had a field for it."""

EVENTS = {row["name"]: Field[row["read_as"]] if row["read_as"] else None for row in table("events.csv")}
"""Span events that are read: as an evaluation, as one message, or (None) as attributes of the span itself."""

FINISH_REASON = "finish_reason"  # of the message in an event
FLAG_KEY, FLAG_VARIANTS = "feature_flag.key", ("feature_flag.result.variant", "feature_flag.variant")

OPERATION_KINDS = {row["name"]: OperationKind(row["kind"]) for row in table("operation_kinds.csv")}
"""Kinds of operation by name, in lower case, from `operation_kinds.csv`; any other name is a step."""

NOT_ANSWERING = re.compile(
    r"embed|rerank|moderation|whisper|transcri|\btts\b|dall-e|gpt-image|imagen|stable-diffusion|nova-canvas|"
    r"\bbge-|\be5-(?:small|base|large|mistral)|\bgte-|minilm|\bsora-\d|\bveo-\d|\bflux[-.]|\beleven_|"
    r"(?:llama|prompt|qwen\d*|nemo|wild|safe)-?guard|shieldgemma|granite-guardian",
    re.IGNORECASE,
)
"""Models that give no answer to the user (embeddings, speech, guards), whatever kind their library reports."""

MASKED = re.compile(
    r"[\W_]{0,3}redacted[\W_]{0,3}|[*#•█]{3,}|"
    r"[\[<({*_]{1,3}(?:\w{1,20}[ _-])?(?:redacted|filtered|masked|scrubbed|hidden|omitted|removed)\b.{0,80}[\])}>*_]",
    re.IGNORECASE,
)
"""Placeholders that replace a text that was redacted."""

KINDS_BY_NAME = {row["name"]: OperationKind(row["kind"]) for row in table("span_names.csv")}
"""Kinds of spans that are recognised by their names alone, from `span_names.csv`."""

BESIDE_CALLS = re.compile(r"\b_prepare_|^execute_tool \(merged\)$")
"""Spans reported as a call that only put its input together, or the results of several (Google ADK)."""

PROVIDER_PREFIX = re.compile(
    r"^(?:<?unknown>?|unknown[-_ ]model|none|null|nil|undefined|n/a)$|"
    r"^(?:arn:[^/]*/|projects/[^/]+/locations/[^/]+/(?:endpoints/)?|accounts/[^/]+/(?:models|deployments)/|"
    r"azure/(?:eu|us)/|azureml://registries/[^/]+/models/|@(?!cf/|hf/)[\w.-]+/|"
    r"bedrock/[a-z]+-[a-z-]+-[0-9]/|(?:us|us-gov|eu|apac|jp|au|ca|global)\.(?=[a-z]+\.)|(?:publishers/[a-z]+/models|"
    + "|".join(row["name"] for row in table("gateways.csv"))
    + r")(?:/|:(?!(?:latest|text|instruct|v?[0-9][\w.]*)\b)))+",
    re.IGNORECASE,
)
"""What gateways write before the name of a model, or instead of one. A colon may also precede a tag of Ollama."""

WAITS = re.compile(
    r"(?:(?:Graph|Node)Interrupt|(?:Approval|Confirmation|(?:Human|User)Input)Required|CallDeferred)$", re.IGNORECASE
)
"""Errors that mean that the run waits for somebody's approval."""

_RUNS = (
    "(?:user|client|request|response|task|job|run|agent|operation|call|stream|flow|future|context|tool|was|execution|"
    "invocation|generation|completion|session|pipeline|prompt|chat|(?<!re)turn)[_. ]?"
)
"""Names of a run, its parts and its caller; a cancelled order or an aborted connection is none of them."""

ABORTS = re.compile(
    rf"(?:(?:^E?|[^a-z_ ]|_(?-i:(?=Cancel))|ERR_|{_RUNS})cancel(?:l?ed|l?ation)?(?:Exception|Error|Failure|Run)?|"
    rf"{_RUNS}abort(?:ed)?|(?:^|[^a-z_ ]|{_RUNS})abort(?:ed)?(?:_?Err(?:or)?|Exception)|^(?-i:[Aa]bort(?:ed)?)|"
    r"user[_ ]?(?:abort|interrupt|stop)\w*|GeneratorExit|(?:Interrupted|RequestNotUsable)Exception|KeyboardInterrupt|"
    r"(?:cancell?|abort|stopp|interrupt|terminat|end|kill|clos|paus|reject|declin|deni)ed[_ ]by[_ ](?:the[_ ])?user|"
    r"(?:client|WebSocket)[_ ]?(?:disconnect\w*|closed[_ ]?request)|^(?:HTTP[_ ])?499)$|" + WAITS.pattern,
    re.IGNORECASE,
)
"""Errors that mean that somebody stopped the run, or that it waits for somebody's approval."""


CUT_OFF = "cut_off.cancelled"
"""Error of an agent whose span ends without what its library writes at any other end."""


class Library(NamedTuple):
    """A library, the prefix of its scope names, what it leaves out, and the switch that turns it on."""

    name: str
    scope: str
    leaves_out: str
    switch: str


LIBRARIES = tuple(Library(**row) for row in table("libraries.csv"))
"""Libraries whose spans were tried; the first one with a matching prefix counts."""


def library_of(scope: str) -> Library | None:
    """The library that writes spans under *scope*, or None if it is not in the table."""
    return next((library for library in LIBRARIES if scope.startswith(library.scope)), None)
