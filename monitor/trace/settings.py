"""What is accepted of the outside world before and while it is decoded, and how it is read."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import re2
from annotated_types import Ge, MinLen
from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from monitor.config.settings import Settings, one_for_each

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
    """Largest sizes of records and values; larger records become dead letters, larger values are cut."""

    max_record_bytes: Annotated[int, Ge(1_024)] = 4 * 1024 * 1024
    """Largest record to decode, in bytes."""

    max_decompressed_bytes: Annotated[int, Ge(1_024)] = 16 * 1024 * 1024
    """Largest decompressed size of a gzip or zstd payload, in bytes."""

    max_depth: Annotated[int, Ge(8)] = 64
    """Deepest nesting of objects and arrays to decode."""

    max_spans: Annotated[int, Ge(1)] = 10_000
    """Most spans and log records in one Kafka record, and most resources and scopes that hold them."""

    max_attributes: Annotated[int, Ge(1)] = 1_024
    """Most attributes to read from one span, event or resource; the rest is only counted."""

    max_attribute_chars: Annotated[int, Ge(64)] = 262_144
    """Longest attribute to read, in characters; longer text is cut, longer JSON is left out."""

    max_text_chars: Annotated[int, Ge(64)] = 16_384
    """Longest request text to read, in characters."""

    max_future_seconds: NonNegativeFloat = 300.0
    """
    How far the time of an event may be ahead of its arrival, in seconds. If it is further ahead, the arrival counts
    instead; if it is a day or more ahead, the event is a dead letter.
    """

    max_past_days: PositiveFloat = 400.0
    """Oldest live event, in days; an older one is a dead letter. Environment `reference` has no limit."""


class AssemblySettings(Settings):
    """When the spans of a trace are taken to be all there."""

    quiet_seconds: NonNegativeFloat = 30.0
    """Silence after the root has ended that completes a trace, in seconds."""

    idle_seconds: PositiveFloat = 0.5 * _HOUR
    """Silence that completes a trace whose root never arrived, in seconds."""

    late_seconds: NonNegativeFloat = 600.0
    """How long after its last span a counted trace accepts late spans, which may revise its outcome, in seconds."""

    max_age_seconds: PositiveFloat = 24 * _HOUR
    """Longest wait for a trace, in seconds after its first span; set it above your longest run."""

    max_spans_per_trace: Annotated[int, Ge(1)] = 10_000
    """Number of spans that completes a trace, even if more may come."""

    max_pending_spans: Annotated[int, Ge(1)] = 10_000_000
    """
    Most spans of all services that may wait for their traces. Above this, the service with the most pending spans has
    its oldest traces completed with the spans that have arrived.
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
    """Name of the span or resource attribute, if look_at is attribute."""

    pattern: str = r".+"
    """RE2 expression that the whole value must match; only its first 1,024 characters count."""

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
        ValueError: *attribute* stands alone, or is missing where a value is given, or a minimum is above its maximum.
    """

    tier: Literal["easy", "medium", "hard", "frontier"]
    """Tier of the matching requests: easy, medium, hard or frontier."""

    capability: str = "*"
    """Capability class; * stands for any characters."""

    min_tools: Annotated[int | None, Ge(0)] = None
    """Fewest tools on offer."""

    max_tools: Annotated[int | None, Ge(0)] = None
    """Most tools on offer; a request whose trace names no tools has none."""

    min_messages: Annotated[int | None, Ge(0)] = None
    """Fewest messages of the conversation so far; a request without this number matches no limit."""

    max_messages: Annotated[int | None, Ge(0)] = None
    """Most messages of the conversation so far."""

    attribute: str | None = None
    """Name of the request attribute for equals and at_least."""

    equals: str | float | None = None
    """Value of that attribute."""

    at_least: float | None = None
    """Smallest value of that attribute; must be a number."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.attribute is not None) != (self.equals is not None or self.at_least is not None):
            raise ValueError("attribute needs equals or at_least, and they need attribute")
        for what in ("tools", "messages"):
            fewest, most = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if None not in {fewest, most} and fewest > most:
                raise ValueError(f"no request has at least {fewest} and at most {most} {what}")
        return self


class EvaluationRule(Settings):
    """What one kind of evaluation or score says about success; the first rule whose name matches holds."""

    name: str
    """Name of the evaluation or score, or * for any."""

    fails_below: float | None = None
    """A score below this means that the request failed, in the evaluator's unit."""

    fails_above: float | None = None
    """A score above this means that the request failed, in the evaluator's unit."""

    fail_labels: tuple[str, ...] = ()
    """Labels that mean failure, in upper or lower case."""

    pass_labels: tuple[str, ...] = ()
    """Labels that mean success, in upper or lower case."""

    source: str | None = None
    """Source of its verdicts (human, judge, reported); null for the source that the evaluation names."""

    ignored: bool = False
    """Whether to ignore this evaluation because it says nothing about success."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fails_below is not None and self.fails_above is not None and self.fails_below > self.fails_above:
            raise ValueError(f"every score is below {self.fails_below:g} or above {self.fails_above:g}, and so fails")
        return self


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

    sources: Annotated[tuple[str, ...], MinLen(1)] = ("human", "budget", "judge", "reported", "status")
    """Sources that count, best first; one that is not listed is ignored (other names count as reported)."""

    status: Literal["error_or_success", "error_only", "ignored"] = "error_or_success"
    """
    Meaning of a span status: error_or_success (a run that ends without an error succeeds, until a better source says
    otherwise), error_only (only errors count; the failure rate is then biased) or ignored.
    """

    no_answer_fails: bool = True
    """Whether a run that visibly gives no answer fails."""

    aborted_fails: bool = False
    """Whether a run that is stopped from outside fails; otherwise its status is ignored."""

    over_budget_fails: bool = True
    """Whether a run over its budget fails."""

    evaluations: tuple[EvaluationRule, ...] = ()
    """Rules for evaluations and scores, by name."""

    observations: Literal["worst", "latest"] = "worst"
    """Which score counts if parts of a trace have several with one name: worst (one failure fails it) or latest."""

    fail_labels: tuple[str, ...] = ("fail", "failed", "failure", "incorrect")
    """Labels that mean failure if no rule names the evaluation."""

    pass_labels: tuple[str, ...] = ("pass", "passed", "success", "correct")
    """Labels that mean success if no rule names the evaluation."""

    budgets: tuple[BudgetRule, ...] = ()
    """Budgets of runs whose traces name none."""


class TopicRule(Settings):
    """What the events of one topic may do; a topic without a rule may do everything. The rest is left out."""

    topic: str
    """Name of the topic."""

    services: tuple[str, ...] | None = None
    """Services whose traces may come from this topic, or null for any."""

    teaches: bool = True
    """Whether to read its traces of the environments reference and probes, which teach difficulty and tiers."""

    judges: bool = True
    """Whether to read its outcomes, evaluations and scores, each of which may judge a trace of any service."""


class TraceSettings(Settings):
    """How spans become traces, and evaluations outcomes."""

    capabilities: tuple[CapabilityRule, ...] = (CapabilityRule(look_at="attribute", attribute="cliffwatch.capability"),)
    """Rules that name the capability class of a request; the first one that matches any of its spans applies."""

    tiers: tuple[TierRule, ...] = ()
    """
    Rules that declare the tier of a request; the first one that matches applies. The request attribute tier
    (cliffwatch.request.tier) comes first. End with a rule that matches everything; requests without a match have no
    tier.
    """

    version_attributes: tuple[str, ...] = ()
    """
    Attributes of spans and resources that name the version, best first; they take precedence over the model. For
    example gen_ai.agent.version, service.version, or feature_flag:KEY for the variant of one flag.
    """

    served_within_seconds: PositiveFloat = _HOUR
    """
    Some runs name only the model that they requested. Cliffwatch takes their version from answered calls under that
    name, up to this many seconds earlier or later; if two versions answered, the run counts for none.
    """

    service_namespace: bool = True
    """Whether to put service.namespace before the name of a service, as namespace/name."""

    topics: Annotated[tuple[TopicRule, ...], one_for_each("topic")] = ()
    """Rules that limit which services a topic may contain, and whether its records may teach and judge."""

    assembly: AssemblySettings = AssemblySettings()
    """When a trace is complete."""

    outcomes: OutcomeSettings = OutcomeSettings()
    """What counts as a failure."""
