"""What is accepted of the outside world before and while it is decoded, and how it is read."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import re2
from annotated_types import Ge
from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from monitor.config.settings import Settings

_OPTIONS = re2.Options()
_OPTIONS.dot_nl = True
_OPTIONS.log_errors = False
_REFERENCE = re.compile(r"\\(?:([0-9]+)|g<(\w+)>)")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """
    *pattern* as RE2 has it (https://github.com/google/re2/wiki/Syntax); a dot matches line ends, too.

    Raises:
        ValueError: RE2 does not know it; it has no look-around and no back references.
    """
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        detail = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(
            f"not an expression of RE2, which has no look-around and no back references: {detail}"
        ) from error


def full_match(expression: Any, text: str) -> Any:
    """The match of the whole *text*, or None; half characters, which no UTF-8 holds, are question marks."""
    return expression.fullmatch(text.encode("utf-8", "replace").decode())


_HOUR = 3_600.0


class Limits(Settings):
    """Sizes above which a record is dead-lettered instead of decoded, and a value is cut."""

    max_record_bytes: Annotated[int, Ge(1_024)] = 4 * 1024 * 1024
    """Largest record that is decoded, in bytes."""

    max_decompressed_bytes: Annotated[int, Ge(1_024)] = 16 * 1024 * 1024
    """Largest payload that a gzip or zstd payload may unfold to, in bytes."""

    max_depth: Annotated[int, Ge(8)] = 64
    """Deepest nesting of objects and arrays that is decoded."""

    max_spans: Annotated[int, Ge(1)] = 10_000
    """Most spans and log records that one record may hold."""

    max_attributes: Annotated[int, Ge(1)] = 1_024
    """Most attributes of one span, event or resource that are read; the rest is counted."""

    max_attribute_chars: Annotated[int, Ge(64)] = 262_144
    """Longest attribute that is read, in characters; text is cut there, JSON is left out."""

    max_text_chars: Annotated[int, Ge(64)] = 16_384
    """Longest request text that is looked at, in characters."""

    max_future_seconds: NonNegativeFloat = 300.0
    """How far ahead of its arrival an event may be dated; beyond it the arrival counts, from a day on nothing."""

    max_past_days: PositiveFloat = 400.0
    """How old a live event may be, in days, but for the environment `reference`; an older one is a dead letter."""


class AssemblySettings(Settings):
    """When the spans of a trace are taken to be all there."""

    quiet_seconds: NonNegativeFloat = 30.0
    """How long no span may have come after the root has ended, in seconds."""

    idle_seconds: PositiveFloat = 0.5 * _HOUR
    """How long no span may have come of a trace whose root was never seen, in seconds."""

    late_seconds: NonNegativeFloat = 600.0
    """How long after its last span a counted trace still takes spans, which may revise its outcome, in seconds."""

    max_age_seconds: PositiveFloat = 24 * _HOUR
    """Longest wait for a trace, in seconds since its first span came; above the longest run."""

    max_spans_per_trace: Annotated[int, Ge(1)] = 10_000
    """Spans of one trace at which it is complete, whatever else may come."""

    max_pending_spans: Annotated[int, Ge(1)] = 10_000_000
    """
    Spans of all services that may wait for their traces; beyond it, those of the service that holds most are put
    together with what has come, the oldest traces first.
    """


class CapabilityRule(Settings):
    """
    One rule that names the capability class of a request.

    Raises:
        ValueError: the pattern is not a regular expression, or *attribute* does not fit *look_at*.
    """

    look_at: Literal["attribute", "span_name", "tool_name"]
    """Where to look: attribute, span_name or tool_name."""

    attribute: str | None = None
    """Name of the span or resource attribute, where look_at is attribute."""

    pattern: str = r".+"
    """Expression of RE2 that the whole value has to match; only its first 1,024 characters are looked at."""

    capability: str | None = None
    r"""Name of the class (\1 stands for the first group), or null for the value itself."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.look_at == "attribute") != (self.attribute is not None):
            raise ValueError("attribute is needed where look_at is attribute, and nowhere else")
        known = compiled(self.pattern)
        for number, name in _REFERENCE.findall(self.capability or ""):
            group = number or name
            if int(group) > known.groups if group.isdigit() else group not in known.groupindex:
                raise ValueError(f"the pattern has no group {group}")
        return self


class TierRule(Settings):
    """
    One rule that declares the difficulty tier of a request; everything that it names has to fit.

    Raises:
        ValueError: *attribute* stands alone, or is missing where a value is given.
    """

    tier: Literal["easy", "medium", "hard", "frontier"]
    """Tier of the requests that fit: easy, medium, hard or frontier."""

    capability: str = "*"
    """Capability class; * stands for any characters."""

    min_tools: Annotated[int | None, Ge(0)] = None
    """Fewest tools on offer."""

    max_tools: Annotated[int | None, Ge(0)] = None
    """Most tools on offer; a request whose trace names no tools has none."""

    min_messages: Annotated[int | None, Ge(0)] = None
    """Fewest messages of the conversation so far; a request that does not say how many fits no limit."""

    max_messages: Annotated[int | None, Ge(0)] = None
    """Most messages of the conversation so far."""

    attribute: str | None = None
    """Name of a request attribute that equals and at_least look at."""

    equals: str | float | None = None
    """Value of that attribute."""

    at_least: float | None = None
    """Smallest value of that attribute, a number."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.attribute is not None) != (self.equals is not None or self.at_least is not None):
            raise ValueError("attribute needs equals or at_least, and they need attribute")
        return self


class EvaluationRule(Settings):
    """What one kind of evaluation or score says about success; the first rule whose name matches holds."""

    name: str
    """Name of the evaluation or score, or * for any."""

    fails_below: float | None = None
    """Score under which the request failed, in the evaluator's unit."""

    fails_above: float | None = None
    """Score over which the request failed, in the evaluator's unit."""

    fail_labels: tuple[str, ...] = ()
    """Labels that say failure, in any case."""

    pass_labels: tuple[str, ...] = ()
    """Labels that say success, in any case."""

    source: str | None = None
    """Source of its verdicts (human, judge, reported); null for what the evaluation itself says."""

    ignored: bool = False
    """Whether to ignore it: it says nothing about success."""


class BudgetRule(Settings):
    """What a run is allowed where its trace does not say; the first rule that fits holds."""

    service: str | None = None
    """Service that the budget is for, or null for all."""

    capability: str | None = None
    """Capability class that the budget is for, or null for all."""

    tool_calls: Annotated[int | None, Ge(0)] = None
    """Most tool calls of one run."""

    steps: Annotated[int | None, Ge(0)] = None
    """Most model calls of one run."""

    tokens: Annotated[int | None, Ge(0)] = None
    """Most tokens of one run, input and output together."""

    seconds: Annotated[float | None, Ge(0)] = None
    """Longest run, in seconds."""


class OutcomeSettings(Settings):
    """What counts as a failure, and which source wins when several disagree."""

    sources: tuple[str, ...] = ("human", "budget", "judge", "reported", "status")
    """Sources that count, best first; one that is not listed is ignored (other names count as reported)."""

    status: Literal["error_or_success", "error_only", "ignored"] = "error_or_success"
    """
    What a span status says: error_or_success (a run that ended without an error succeeded, until a better
    source says otherwise), error_only (only errors count; the failure rate is then biased) or ignored.
    """

    no_answer_fails: bool = True
    """Whether a run that visibly gave no answer failed."""

    aborted_fails: bool = False
    """Whether a run that was stopped from outside failed; otherwise its status is ignored."""

    over_budget_fails: bool = True
    """Whether a run over its budget failed."""

    evaluations: tuple[EvaluationRule, ...] = ()
    """What evaluations and scores say, by name."""

    observations: Literal["worst", "latest"] = "worst"
    """Which of several scores of one name on parts of a trace counts: worst (one failure fails it) or latest."""

    fail_labels: tuple[str, ...] = ("fail", "failed", "failure", "incorrect")
    """Labels that say failure where no rule names the evaluation."""

    pass_labels: tuple[str, ...] = ("pass", "passed", "success", "correct")
    """Labels that say success where no rule names the evaluation."""

    budgets: tuple[BudgetRule, ...] = ()
    """What runs are allowed where their traces do not say."""


class TopicRule(Settings):
    """What the events of one topic may do; a topic without a rule may do everything. The rest is left out."""

    topic: str
    """Name of the topic."""

    services: tuple[str, ...] | None = None
    """Services whose traces are read from it, or null for any."""

    teaches: bool = True
    """Whether its traces of the environments reference and probes are read: they teach difficulty and tiers."""

    judges: bool = True
    """Whether its outcomes, evaluations and scores are read: each may judge a trace of any service."""


class TraceSettings(Settings):
    """How spans become traces, and evaluations outcomes."""

    capabilities: tuple[CapabilityRule, ...] = (CapabilityRule(look_at="attribute", attribute="cliffwatch.capability"),)
    """Rules that name the capability class of a request; the first that matches any of its spans holds."""

    tiers: tuple[TierRule, ...] = ()
    """
    Rules that declare the tier of a request; the first that fits holds. The request attribute tier
    (cliffwatch.request.tier) comes before them. End with a rule for all that is left, or it has no tier.
    """

    version_attributes: tuple[str, ...] = ()
    """
    Attributes of spans and resources that name the version, best first, before the model does: gen_ai.agent.version,
    service.version, or feature_flag:KEY for the variant of one flag.
    """

    served_within_seconds: PositiveFloat = _HOUR
    """
    How long before or after a run that names only the model it asked for an answered call tells its version, in
    seconds; where calls under that name were answered by two versions, the run counts for none.
    """

    service_namespace: bool = True
    """Whether service.namespace is put before the name of a service, as namespace/name."""

    topics: tuple[TopicRule, ...] = ()
    """Who may teach and judge: rules for topics that not everybody may say everything on."""

    assembly: AssemblySettings = AssemblySettings()
    """When a trace is complete."""

    outcomes: OutcomeSettings = OutcomeSettings()
    """What counts as a failure."""
