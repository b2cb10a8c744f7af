"""What is accepted of the outside world before and while it is decoded, and how it is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt
from typing_extensions import Doc

_HOUR = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes above which a record is dead-lettered instead of decoded, and a value is cut."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    max_record_bytes: Annotated[int, Ge(1_024), Doc("Largest record that is decoded, in bytes.")] = 4 * 1024 * 1024
    max_decompressed_bytes: Annotated[
        int, Ge(1_024), Doc("Largest payload that a gzip or zstd payload may unfold to, in bytes.")
    ] = 16 * 1024 * 1024
    max_depth: Annotated[int, Ge(8), Doc("Deepest nesting of objects and arrays that is decoded.")] = 64
    max_spans: Annotated[int, Ge(1), Doc("Most spans and log records that one record may hold.")] = 10_000
    max_attributes: Annotated[
        int, Ge(1), Doc("Most attributes of one span, event or resource that are read; the rest is counted.")
    ] = 1_024
    max_attribute_chars: Annotated[
        int, Ge(64), Doc("Longest attribute that is read, in characters; text is cut there, JSON is left out.")
    ] = 262_144
    max_text_chars: Annotated[int, Ge(64), Doc("Longest request text that is looked at, in characters.")] = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblySettings:
    """When the spans of a trace are taken to be all there."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    quiet_seconds: Annotated[
        float, Ge(0), Doc("How long no span may have come after the root has ended, in seconds.")
    ] = 30.0
    idle_seconds: Annotated[
        float, Gt(0), Doc("How long no span may have come of a trace whose root was never seen, in seconds.")
    ] = 0.5 * _HOUR
    max_age_seconds: Annotated[
        float, Gt(0), Doc("Longest wait for a trace, in seconds since its first span came; above the longest run.")
    ] = 24 * _HOUR
    max_spans_per_trace: Annotated[
        int, Ge(1), Doc("Spans of one trace at which it is complete, whatever else may come.")
    ] = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityRule:
    """
    One rule that names the capability class of a request.

    Raises:
        ValueError: the pattern is no regular expression, or *attribute* does not fit *look_at*.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    look_at: Annotated[
        Literal["attribute", "span_name", "tool_name"], Doc("Where to look: attribute, span_name or tool_name.")
    ]
    attribute: Annotated[str | None, Doc("Name of the span or resource attribute, where look_at is attribute.")] = None
    pattern: Annotated[
        str, Doc("Regular expression that the whole value has to match; only its first 1,024 characters are looked at.")
    ] = r".+"
    capability: Annotated[
        str | None, Doc(r"Name of the class (\1 stands for the first group), or null for the value itself.")
    ] = None

    def __post_init__(self) -> None:
        if (self.look_at == "attribute") != (self.attribute is not None):
            raise ValueError("attribute is needed where look_at is attribute, and nowhere else")
        try:
            # Substituting in no text at all: a group that the pattern lacks fails here and not on the first trace.
            re.compile(self.pattern).sub(self.capability or "", "")
        except (re.error, IndexError) as error:
            raise ValueError(f"{error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRule:
    """What one kind of evaluation or score says about success; the first rule whose name matches holds."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    name: Annotated[str, Doc("Name of the evaluation or score, or * for any.")]
    fails_below: Annotated[float | None, Doc("Score under which the request failed, in the evaluator's unit.")] = None
    fails_above: Annotated[float | None, Doc("Score over which the request failed, in the evaluator's unit.")] = None
    fail_labels: Annotated[tuple[str, ...], Doc("Labels that say failure, in any case.")] = ()
    pass_labels: Annotated[tuple[str, ...], Doc("Labels that say success, in any case.")] = ()
    source: Annotated[str | None, Doc("Who speaks through it (human, judge, reported); null: as it says itself.")] = (
        None
    )
    ignored: Annotated[bool, Doc("Whether it says nothing about success.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRule:
    """What a run is allowed where its trace does not say; the first rule that fits holds."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    service: Annotated[str | None, Doc("Service that the budget is for, or null for all.")] = None
    capability: Annotated[str | None, Doc("Capability class that the budget is for, or null for all.")] = None
    tool_calls: Annotated[int | None, Ge(0), Doc("Most tool calls of one run.")] = None
    steps: Annotated[int | None, Ge(0), Doc("Most model calls of one run.")] = None
    tokens: Annotated[int | None, Ge(0), Doc("Most tokens of one run, input and output together.")] = None
    seconds: Annotated[float | None, Ge(0), Doc("Longest run, in seconds.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeSettings:
    """What counts as a failure, and who is believed when several disagree."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    sources: Annotated[
        tuple[str, ...],
        Doc("Who is believed, best first; one that is not listed is not believed (other names count as reported)."),
    ] = ("human", "budget", "judge", "reported", "status")
    status: Annotated[
        Literal["error_or_success", "error_only", "ignored"],
        Doc(
            "What a span status says: error_or_success (a run that ended without an error succeeded, until somebody "
            "better says otherwise), error_only (only errors speak; the failure rate is then biased) or ignored."
        ),
    ] = "error_or_success"
    no_answer_fails: Annotated[bool, Doc("Whether a run that visibly gave no answer failed.")] = True
    over_budget_fails: Annotated[bool, Doc("Whether a run over its budget failed.")] = True
    evaluations: Annotated[tuple[EvaluationRule, ...], Doc("What evaluations and scores say, by name.")] = ()
    fail_labels: Annotated[tuple[str, ...], Doc("Labels that say failure where no rule names the evaluation.")] = (
        "fail",
        "failed",
        "failure",
        "incorrect",
    )
    pass_labels: Annotated[tuple[str, ...], Doc("Labels that say success where no rule names the evaluation.")] = (
        "pass",
        "passed",
        "success",
        "correct",
    )
    budgets: Annotated[tuple[BudgetRule, ...], Doc("What runs are allowed where their traces do not say.")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """How spans become traces, and evaluations outcomes."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    capabilities: Annotated[
        tuple[CapabilityRule, ...],
        Doc("Rules that name the capability class of a request; the first that matches any of its spans holds."),
    ] = (CapabilityRule(look_at="attribute", attribute="cliffwatch.capability"),)
    assembly: Annotated[AssemblySettings, Doc("When a trace is complete.")] = AssemblySettings()
    outcomes: Annotated[OutcomeSettings, Doc("What counts as a failure.")] = OutcomeSettings()
