"""
What a record decodes to: a `Trace` (one finished agent run) or an `OutcomeEvent` (a verdict on one, often late).

Types that every record makes are msgspec `Struct`s: as immutable as frozen dataclasses, and made in a tenth of the
time. They hold no cycles, so the garbage collector skips them (`gc=False`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, NewType

from msgspec import Meta, Struct

from monitor.trace.bounds import MOST_COST_USD, MOST_COUNTED

TraceId = NewType("TraceId", str)
ModelVersion = NewType("ModelVersion", str)

_TRACE_ID_DIGITS = 32
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f-]{32,36}")


def hash_of(*parts: object, size: int = 8) -> str:
    """A hash of *parts*, *size* bytes in hexadecimal digits; the same in every process."""
    text = "\x1f".join(map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def joining_id(text: str) -> TraceId:
    """
    The trace id by which traces and verdicts find each other: OpenTelemetry's in lower case and without dashes.

    >>> joining_id("4BF92F35-77B3-4DA6-A3CE-929D0E0E4736"), joining_id("order-17")
    ('4bf92f3577b34da6a3ce929d0e0e4736', 'order-17')
    """
    digits = text.replace("-", "") if _HEXADECIMAL.fullmatch(text) else ""
    return TraceId(digits.lower() if len(digits) == _TRACE_ID_DIGITS else text)


REFERENCE_ENVIRONMENT = "reference"
"""Runs of past or other models: they teach difficulty and are never judged as a rollout."""

PROBES_ENVIRONMENT = "probes"
"""Runs of the probe panel on a version."""

VARIANT_MARK = "/variant-"
"""In a request id, what separates the case from the number of its variant."""

TEACHING_ENVIRONMENTS = frozenset({REFERENCE_ENVIRONMENT, PROBES_ENVIRONMENT})
"""Environments whose requests teach difficulty and tiers."""

UNRESOLVED = ModelVersion("unresolved")
"""Stands in for a version that is not known; such runs are counted and never part of a rollout."""


class VersionBy(StrEnum):
    """Where the version of a run comes from."""

    SENDER = "sender"
    """A native event, `cliffwatch.model_version` or an attribute of the settings."""
    RESPONSE = "response"
    """The model that answered."""
    REQUEST = "request"
    """The requested model, because nothing else is known."""
    SERVED = "served"
    """The version that answers the service under the requested name."""
    NOTHING = "nothing"
    """`UNRESOLVED`: several versions answer under the requested name, or no model was requested."""


class DropReason(StrEnum):
    """Why a record can never be processed; a label value of `cliffwatch_dead_letters_total`."""

    EMPTY = "empty"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_PROTOBUF = "not_protobuf"
    NOT_COMPRESSED = "not_compressed"
    TOO_MANY_SPANS = "too_many_spans"
    NOT_FINITE = "not_finite"
    SCHEMA_UNKNOWN = "schema_unknown"
    FIELD_MISSING = "field_missing"
    FIELD_INVALID = "field_invalid"
    LABEL_INVALID = "label_invalid"
    CLOCK_SKEWED = "clock_skewed"


class Ignored(StrEnum):
    """What was left out of a record or changed in it; a label value of `cliffwatch_ignored_total`."""

    RECORD_SILENT = "record_silent"
    """A readable record that holds nothing: a request without a span or log record."""
    SPAN_INVALID = "span_invalid"
    """A span without ids or with an impossible time."""
    SPAN_IRRELEVANT = "span_irrelevant"
    """A span of the application, no root and without attributes for Cliffwatch: only its place and error are read."""
    LOG_IRRELEVANT = "log_irrelevant"
    """A log record that carries no evaluation."""
    EVALUATION_UNLINKED = "evaluation_unlinked"
    """An evaluation that names no trace."""
    EVALUATION_UNMAPPED = "evaluation_unmapped"
    """An evaluation that no rule maps to success or failure."""
    ATTRIBUTE_CUT = "attribute_cut"
    """An attribute longer than the limit."""
    ATTRIBUTE_EXCESS = "attribute_excess"
    """An attribute above the limit on their number."""
    LABEL_MENDED = "label_mended"
    """A text that had to be changed to be a metric label."""
    CLOCK_SKEWED = "clock_skewed"
    """A time ahead of the arrival, replaced by the arrival; a span dated days ahead is left out."""

    NOT_ALLOWED = "not_allowed"
    """A trace, span or outcome that the rules of its topic do not allow."""


class InvalidRecord(Exception):
    """The record can never be processed: dead-letter it, count it, move on."""

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class Tool(Struct, frozen=True, gc=False, array_like=True):
    """A tool definition that the agent was offered; *parameters* is its JSON schema as canonical JSON text."""

    name: str
    description: str = ""
    parameters: str = ""


class Request(Struct, frozen=True, gc=False):
    """
    What was known before the model answered; the only input of a difficulty tag.

    Attributes:
        capability: Class of the request; `unclassified` if it is not known.
        request_id: Name of a request that is sent again and again (an eval probe, a template), or None.
        text: The prompt, or None; used for features and then dropped.
        prompt_family: Hash of a text that was dropped earlier, or None.
        tool_set: Hash of the whole tools, if only their names were kept, or None.
        messages: Number of messages in the conversation so far, or None.
        tools: Tools on offer.
        attributes: Numbers or short strings known at request time.
    """

    capability: str
    request_id: str | None = None
    text: str | None = None
    messages: int | None = None
    tools: tuple[Tool, ...] = ()
    attributes: Mapping[str, float | str] = {}
    prompt_family: str | None = None
    tool_set: str | None = None


class Outcome(Struct, frozen=True, gc=False):
    """
    A verdict on one trace.

    Attributes:
        success: Whether the agent did what was asked.
        failure_class: Short name of what went wrong, or None.
        score: Number given by the judge, in the judge's own unit, or None.
        source: Who gave the verdict (`human`, `judge`, `status`, `reported`, `budget`).
        labelled_at: Unix seconds of the verdict, or None.
        evaluation: Name of the check, if a source runs several (`correctness`, `tone`), or None.
        observation: Part of the trace that was checked, or None for the whole.
        sampling_probability: Probability that this trace was chosen for a verdict, above 0 to 1, or None if unknown.
    """

    success: bool
    failure_class: str | None = None
    score: float | None = None
    source: str = "reported"
    labelled_at: float | None = None
    evaluation: str | None = None
    observation: str | None = None
    sampling_probability: float | None = None


Count = Annotated[int, Meta(ge=0, le=MOST_COUNTED)]


class Usage(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What one trace cost: tokens in and out, and US dollars; None where not reported."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cost_usd: Annotated[float, Meta(ge=0, le=MOST_COST_USD)] | None = None


class Budget(Struct, frozen=True, gc=False, array_like=True):
    """What one trace was allowed: tool calls, steps, tokens and seconds; None where unlimited."""

    tool_calls: int | None = None
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None


NO_BUDGET = Budget()


class Trace(Struct, frozen=True, gc=False):
    """
    One finished agent run.

    Times are Unix seconds; `ended_at`, counts and usage are None if not reported.

    Attributes:
        floating_alias: The request asked for whatever version is the latest.
        answered: Whether there is an answer; None if unknown.
        aborted: Somebody stopped the run.
        version_by: Where the version comes from.
        requested_model: Model that was requested, or None.
        head_span_id: Span by which the run is known, or None.
        span_ids: All spans of a run that is not the first of its trace; else empty.
    """

    trace_id: TraceId
    service: str
    environment: str
    model_version: ModelVersion
    request: Request
    started_at: float
    ended_at: float | None = None
    usage: Usage = Usage()
    tool_calls: int | None = None
    steps: int | None = None
    budget: Budget = NO_BUDGET
    outcome: Outcome | None = None
    unknown_fields: int = 0
    floating_alias: bool = False
    agent_version: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    answered: bool | None = None
    aborted: bool = False
    version_by: VersionBy = VersionBy.SENDER
    requested_model: str | None = None
    head_span_id: str | None = None
    span_ids: frozenset[str] = frozenset()

    @property
    def duration_seconds(self) -> float | None:
        """Seconds from start to end, or None where the end is not known."""
        return None if self.ended_at is None else self.ended_at - self.started_at


class OutcomeEvent(Struct, frozen=True, gc=False):
    """A verdict in a record of its own, before or after its trace."""

    trace_id: TraceId
    outcome: Outcome
    unknown_fields: int = 0

    @property
    def run_id(self) -> str:
        """Id that the run headed by the judged span has, unless it is the first run of its trace."""
        return f"{self.trace_id}:{self.outcome.observation}"
