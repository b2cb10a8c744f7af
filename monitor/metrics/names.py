"""Every metric that Cliffwatch exports, with its labels; docs/metrics.md is generated from this table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum


class MetricKind(StrEnum):
    """The type of a metric, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One exported metric.

    Attributes:
        name: Full name, unit and suffix included, as PromQL writes it (a histogram's without `_bucket`).
        help: What it counts or measures, with unit and range.
        labels: Label names in the order in which the collector gives their values.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """Name of the metric family: a counter's without `_total`."""
        return self.name.removesuffix("_total") if self.kind is MetricKind.COUNTER else self.name


_VERSION = ("service", "environment", "model_version")
_TIERED = (*_VERSION, "tier")
_CLASSED = (*_TIERED, "capability")
_ENVIRONMENT = ("service", "environment")
_ROLLOUT = (*_ENVIRONMENT, "baseline", "candidate")
_BOUND = "; bound is lower, estimate or upper, and the bounds hold however often they are looked at"


def _counter(name: str, help_text: str, labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricKind.COUNTER, help_text, labels)


def _gauge(name: str, help_text: str, labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricKind.GAUGE, help_text, labels)


# Traffic and outcomes.
REQUESTS = _counter("cliffwatch_requests_total", "Requests counted, each trace id once.", _CLASSED)
OUTCOMES = _counter(
    "cliffwatch_outcomes_total", "Labelled requests; outcome is success or failure.", (*_CLASSED, "outcome")
)
OUTCOME_REVISIONS = _counter(
    "cliffwatch_outcome_revisions_total",
    "Outcomes that a later verdict changed; outcomes_total keeps the first one.",
    (*_CLASSED, "from", "to"),
)
FAILURES_BY_CLASS = _counter(
    "cliffwatch_failures_by_class_total", "Failed requests by what went wrong.", (*_TIERED, "failure_class")
)
REQUEST_DURATION = Metric(
    "cliffwatch_request_duration_seconds",
    MetricKind.HISTOGRAM,
    "Seconds from start to end of a request, where the end was reported.",
    _TIERED,
)
REQUEST_TOKENS = _counter(
    "cliffwatch_request_tokens_total", "Tokens used; direction is input or output.", (*_TIERED, "direction")
)
REQUEST_COST = _counter("cliffwatch_request_cost_dollars_total", "Reported cost in US dollars.", _TIERED)
REQUEST_STEPS = Metric(
    "cliffwatch_request_steps",
    MetricKind.HISTOGRAM,
    "Model calls of a request, its horizon, where they were reported.",
    _TIERED,
)
TOOL_CALLS = _counter("cliffwatch_tool_calls_total", "Tool calls made by the agent.", _TIERED)
BUDGET_EXCEEDED = _counter("cliffwatch_budget_exceeded_total", "Requests that went over their budget.", _TIERED)
ALIAS_REQUESTS = _counter(
    "cliffwatch_alias_requests_total",
    "Requests that asked for an alias whose meaning the provider may change, and were answered by this model version.",
    _VERSION,
)
TIER_TRAFFIC_RATIO = _gauge(
    "cliffwatch_tier_traffic_ratio", "Share of a model version's requests that each tier holds, 0 to 1.", _TIERED
)
MODEL_VERSION_INFO = _gauge(
    "cliffwatch_model_version_info",
    "1 for each model version; role is baseline, candidate or retired, floating says whether it is an alias.",
    (*_VERSION, "role", "floating"),
)

# Rollouts that are under way, each with its latest verdict.
ROLLOUT_INFO = _gauge("cliffwatch_rollout_info", "1 for each rollout under way.", _ROLLOUT)
ROLLOUT_START = _gauge(
    "cliffwatch_rollout_start_timestamp_seconds", "Unix time of the candidate's first request.", _ROLLOUT
)
ROLLOUT_VERDICT = _gauge(
    "cliffwatch_rollout_verdict",
    "1 for the verdict that holds, 0 for the others: ok, cliff, regression, waiting.",
    (*_ROLLOUT, "verdict"),
)
ROLLOUT_REGRESSION = _gauge(
    "cliffwatch_rollout_regression",
    "1 where the failure rate of a scope is shown to have risen or its floor is broken, else 0: all, hard, easier, "
    "capability:NAME, floor:....",
    (*_ROLLOUT, "scope"),
)
ROLLOUT_TIERS = _gauge(
    "cliffwatch_rollout_tiers_info",
    "1 for what gives requests their tier (declared, class, learnt, none) and how the arms are compared (concurrent, "
    "before_after).",
    (*_ROLLOUT, "tiers_by", "comparison"),
)
ROLLOUT_FAILURE_RATIO = _gauge(
    "cliffwatch_rollout_failure_ratio",
    f"Failures per labelled, matured request of one arm and tier, 0 to 1{_BOUND}.",
    (*_ROLLOUT, "arm", "tier", "bound"),
)
ROLLOUT_FAILURE_CHANGE = _gauge(
    "cliffwatch_rollout_failure_change",
    f"Change of a tier's failure ratio from baseline to candidate, -1 to 1{_BOUND}.",
    (*_ROLLOUT, "tier", "bound"),
)
ROLLOUT_HARD_TIER_FAILURE_RATIO = _gauge(
    "cliffwatch_rollout_hard_tier_failure_ratio",
    f"Failures per labelled, matured request of the hard tier (hard and frontier together) at the baseline's mix of "
    f"the two, 0 to 1{_BOUND}.",
    (*_ROLLOUT, "arm", "bound"),
)
ROLLOUT_HARD_TIER_FAILURE_CHANGE = _gauge(
    "cliffwatch_rollout_hard_tier_failure_change",
    f"Change of the hard tier's failure ratio (hard and frontier together), -1 to 1{_BOUND}.",
    (*_ROLLOUT, "bound"),
)
ROLLOUT_CAPABILITY_FAILURE_RATIO = _gauge(
    "cliffwatch_rollout_capability_failure_ratio",
    f"Failures per labelled, matured hard-tier request of one capability class and arm, 0 to 1{_BOUND}.",
    (*_ROLLOUT, "capability", "arm", "bound"),
)
ROLLOUT_CLASS_FAILURE_RATIO = _gauge(
    "cliffwatch_rollout_class_failure_ratio",
    f"Failures per labelled, matured request of one capability class and arm over all tiers, 0 to 1{_BOUND}.",
    (*_ROLLOUT, "capability", "arm", "bound"),
)
ROLLOUT_CAPABILITY_REGRESSED = _gauge(
    "cliffwatch_rollout_capability_regressed",
    "1 where a capability class is shown to fail more often, several looked at together allowed for.",
    (*_ROLLOUT, "capability"),
)
ROLLOUT_AGGREGATE_FAILURE_RATIO = _gauge(
    "cliffwatch_rollout_aggregate_failure_ratio",
    f"Failures per labelled, matured request of one arm over all tiers, 0 to 1{_BOUND}.",
    (*_ROLLOUT, "arm", "bound"),
)
ROLLOUT_AGGREGATE_FAILURE_CHANGE = _gauge(
    "cliffwatch_rollout_aggregate_failure_change",
    f"Change of the failure ratio over all tiers from baseline to candidate, -1 to 1{_BOUND}.",
    (*_ROLLOUT, "bound"),
)
ROLLOUT_HARD_SHARE = _gauge(
    "cliffwatch_rollout_hard_share_ratio",
    "The hard tier's share of failures at the baseline's traffic mix, 0 to 1 (tier is always \"hard\" and means hard "
    f"and frontier together){_BOUND}.",
    (*_ROLLOUT, "arm", "tier", "bound"),
)
ROLLOUT_HARD_SHARE_CHANGE = _gauge(
    "cliffwatch_rollout_hard_share_change",
    f"Change of the hard tier's share of failures, -1 to 1{_BOUND}.",
    (*_ROLLOUT, "bound"),
)
ROLLOUT_EXPECTED_CHANGE = _gauge(
    "cliffwatch_rollout_expected_change",
    "Change of the hard tier's share of failures that a uniform gain in ability would give, -1 to 1.",
    _ROLLOUT,
)
ROLLOUT_HARD_SHARE_EXCESS = _gauge(
    "cliffwatch_rollout_hard_share_excess",
    f"Change of the hard tier's share of failures minus the expected change, -1 to 1{_BOUND}.",
    (*_ROLLOUT, "bound"),
)
ROLLOUT_HARD_SHARE_COMPONENT = _gauge(
    "cliffwatch_rollout_hard_share_change_component",
    "Parts of the raw change of the hard tier's share of failures; they add up to it.",
    (*_ROLLOUT, "component"),
)
ROLLOUT_REQUESTS_NEEDED = _gauge(
    "cliffwatch_rollout_requests_needed",
    "Labelled candidate requests still needed for the next verdict; 0 where none are.",
    _ROLLOUT,
)
ROLLOUT_LABELLED_REQUESTS = _gauge(
    "cliffwatch_rollout_labelled_requests", "Labelled, matured requests of one arm.", (*_ROLLOUT, "arm")
)
ROLLOUT_HARD_FAILURES = _gauge(
    "cliffwatch_rollout_hard_failures",
    "Failed requests of one arm in the hard tier (hard and frontier).",
    (*_ROLLOUT, "arm"),
)
ROLLOUT_FLOOR = _gauge(
    "cliffwatch_rollout_floor_pass_ratio",
    "Floor of the hard tier's pass rate that a rollout is held to, as agreed on when it started; capability is empty "
    "where it is for all of them together.",
    (*_ROLLOUT, "capability"),
)
ROLLOUT_LOAD = _gauge(
    "cliffwatch_rollout_failures_per_1000_requests",
    "Expected load on call: failures of one tier per 1,000 labelled requests of all tiers.",
    (*_ROLLOUT, "arm", "tier"),
)
LABEL_COVERAGE = _gauge(
    "cliffwatch_label_coverage_ratio",
    "Labelled per matured request of one arm and tier, 0 to 1.",
    (*_VERSION, "baseline", "candidate", "arm", "tier"),
)

# The policy in force: what the rules compare with.
POLICY_SHARE_JUMP = _gauge(
    "cliffwatch_policy_share_jump_ratio", "Rise of the hard tier's share of failures that matters.", _ENVIRONMENT
)
POLICY_ERROR = _gauge(
    "cliffwatch_policy_error_ratio", "Chance that any bound of one rollout is ever wrong.", _ENVIRONMENT
)
POLICY_MIN_LABELLED = _gauge(
    "cliffwatch_policy_min_labelled_requests", "Labelled requests that each arm needs.", _ENVIRONMENT
)
POLICY_MIN_HARD_FAILURES = _gauge(
    "cliffwatch_policy_min_hard_failures", "Hard-tier failures that each arm needs.", _ENVIRONMENT
)
POLICY_OK_MARGIN = _gauge(
    "cliffwatch_policy_ok_margin_ratio", "Rise of the failure rate of all requests that `ok` rules out.", _ENVIRONMENT
)
POLICY_OK_MARGIN_HARD = _gauge(
    "cliffwatch_policy_ok_margin_hard_ratio", "Rise of the hard tier's failure rate that `ok` rules out.", _ENVIRONMENT
)
POLICY_CAPABILITY_MIN_SHARE = _gauge(
    "cliffwatch_policy_capability_min_share_ratio",
    "Share of the candidate's requests from which any capability class's rise is a regression.",
    _ENVIRONMENT,
)
POLICY_BASELINE = _gauge(
    "cliffwatch_policy_baseline_seconds", "Time before a cutover that is used as the baseline.", _ENVIRONMENT
)
POLICY_MATURITY = _gauge(
    "cliffwatch_policy_maturity_seconds", "Age at which a request is judged, in seconds.", _ENVIRONMENT
)
POLICY_RAMP = _gauge("cliffwatch_policy_ramp_seconds", "How long a rollout is watched, in seconds.", _ENVIRONMENT)
POLICY_ROLLBACK = _gauge(
    "cliffwatch_policy_rollback_seconds",
    "Silence of a candidate, while its baseline serves, that counts as a rollback, in seconds.",
    _ENVIRONMENT,
)
POLICY_CANDIDATE_MIN_SHARE = _gauge(
    "cliffwatch_policy_candidate_min_share_ratio",
    "Share of traffic from which on a new model version is a rollout.",
    _ENVIRONMENT,
)
POLICY_CANDIDATE_MIN_REQUESTS = _gauge(
    "cliffwatch_policy_candidate_min_requests",
    "Requests of a new model version before it is a rollout.",
    _ENVIRONMENT,
)
POLICY_MAX_COVERAGE_GAP = _gauge(
    "cliffwatch_policy_max_coverage_gap_ratio",
    "Largest difference of label coverage between the arms that is still judged.",
    _ENVIRONMENT,
)
POLICY_FLOOR = _gauge(
    "cliffwatch_policy_floor_pass_ratio",
    "Pre-committed floor of the hard tier's pass rate; capability is empty where it is for all of them together.",
    (*_ENVIRONMENT, "capability"),
)

# The calibration in force.
CALIBRATION_INFO = _gauge("cliffwatch_calibration_info", "1 for the calibration in force.", ("calibration",))
CALIBRATION_AUC = _gauge(
    "cliffwatch_calibration_auc",
    "Within-version AUC of the difficulty on held-out labels, 0 to 1.",
    ("calibration",),
)
CALIBRATION_ERROR = _gauge(
    "cliffwatch_calibration_error", "Expected calibration error of the difficulty, 0 to 1.", ("calibration",)
)
CALIBRATION_AGE = _gauge(
    "cliffwatch_calibration_age_seconds", "Seconds since the calibration was frozen.", ("calibration",)
)
CALIBRATION_TRUSTED = _gauge(
    "cliffwatch_calibration_trusted", "1 if the calibration is trusted, else 0.", ("calibration",)
)
CALIBRATION_VERSIONS = _gauge(
    "cliffwatch_calibration_versions", "Model versions that the calibration learnt from.", ("calibration",)
)
CALIBRATION_KNOWN = _gauge(
    "cliffwatch_calibration_known_ratio",
    "Share of the evaluated requests whose item or family was seen in at least two versions, 0 to 1.",
    ("calibration",),
)
CALIBRATION_MISSING = _gauge(
    "cliffwatch_calibration_missing_info",
    "1 for each gate that the calibration does not pass, and for each doubt of live labels; reason says what is "
    "missing.",
    ("calibration", "reason"),
)
CALIBRATION_LIVE_TRUSTED = _gauge(
    "cliffwatch_calibration_live_trusted",
    "0 if labels of live versions contradict the calibration, 1 if not, missing with too few labels; "
    "verdicts do not depend on it.",
    ("calibration",),
)
CALIBRATION_LIVE_VERSIONS = _gauge(
    "cliffwatch_calibration_live_versions",
    "Live model versions with enough labels to check trust; three together are needed to doubt a calibration.",
    ("calibration",),
)
CALIBRATION_LIVE_AUC = _gauge(
    "cliffwatch_calibration_live_auc",
    "Within-version AUC of the difficulty on labels of live versions, 0 to 1.",
    ("calibration",),
)
CALIBRATION_LIVE_ERROR = _gauge(
    "cliffwatch_calibration_live_error",
    "Expected calibration error of the difficulty on labels of live versions, 0 to 1.",
    ("calibration",),
)
CALIBRATION_LIVE_KNOWN = _gauge(
    "cliffwatch_calibration_live_known_ratio",
    "Share of the labelled requests of live versions whose item or family was seen in at least two versions, 0 to 1.",
    ("calibration",),
)
CALIBRATION_DRIFTING = _gauge(
    "cliffwatch_calibration_drifting",
    "1 if live labels drift away from the calibration, else 0; missing with too few labels.",
    ("calibration",),
)
CALIBRATION_LIVE_RESIDUAL = _gauge(
    "cliffwatch_calibration_live_residual",
    "Failures minus predicted failures per live label since that last changed, each version at its own ability, "
    "-1 to 1.",
    ("calibration",),
)
CALIBRATION_ANCHORS_MOVED = _gauge(
    "cliffwatch_calibration_anchors_moved_ratio",
    "Share of well-known requests that fail more or less often than the calibration says, 0 to 1.",
    ("calibration",),
)

# The monitor itself.
RECORDS_CONSUMED = _counter(
    "cliffwatch_records_consumed_total", "Records taken from a partition, of any kind.", ("topic", "partition")
)
DEAD_LETTERS = _counter("cliffwatch_dead_letters_total", "Records that can never be processed, by reason.", ("reason",))
DUPLICATE_RECORDS = _counter("cliffwatch_duplicate_records_total", "Traces that came again and were left out.")
UNKNOWN_FIELDS = _counter("cliffwatch_unknown_fields_total", "Fields of events that were not understood and ignored.")
SPANS = _counter(
    "cliffwatch_spans_total",
    "Spans by what became of them: received = joined + non_agent + duplicate + late + those still waiting.",
    ("state",),
)
SPANS_WAITING = _gauge("cliffwatch_spans_waiting", "Spans that wait for their trace to be complete.")
IGNORED = _counter(
    "cliffwatch_ignored_total", "What was left aside or mended in records that were read, by reason.", ("reason",)
)
VERSIONS_UNRESOLVED = _counter(
    "cliffwatch_versions_unresolved_total",
    "Requests whose version no source told, by the model that was asked for and their first outcome (or unlabelled).",
    ("service", "environment", "requested_model", "outcome"),
)
SERIES_DROPPED = _counter(
    "cliffwatch_series_dropped_total",
    "Requests and failures counted as other, a name being over a cap; reason is its label, or series (all together).",
    ("reason",),
)
CONSUMER_LAG = _gauge(
    "cliffwatch_consumer_lag_records",
    "Records between the next offset and the end of a partition that this replica owns.",
    ("topic", "partition"),
)
LAST_COMMIT = _gauge("cliffwatch_last_commit_timestamp_seconds", "Unix time of the last batch written to the ledger.")
LAST_TURN = _gauge(
    "cliffwatch_last_turn_timestamp_seconds",
    "Unix time when the loop of this replica last polled and recorded; it stops when the loop hangs.",
)
BATCHES_FENCED = _counter(
    "cliffwatch_batches_fenced_total",
    "Batches that this replica dropped since it started because another had taken over the partition; not lost.",
)
PAUSES = _counter(
    "cliffwatch_pauses_total",
    "Times that this replica waited for a dependency out of reach since it started; each wait is one.",
)
JOB_DURATION = _gauge(
    "cliffwatch_job_duration_seconds", "Seconds that the last review or snapshot of this replica took.", ("job",)
)
READY = _gauge("cliffwatch_ready", "1 while this replica is ready, else 0.")
HEALTH = _gauge("cliffwatch_health", "1 where a check of the monitor itself passes, else 0.", ("check",))
BUILD_INFO = _gauge("cliffwatch_build_info", "1; version is the running release.", ("version",))

METRICS: tuple[Metric, ...] = tuple(value for value in dict(globals()).values() if isinstance(value, Metric))
"""Every metric, in the order of this file."""


def metrics_reference() -> str:
    """docs/metrics.md: a Markdown table of every metric."""
    rows = (
        f"| `{metric.name}` | {metric.kind} | {_code(metric.labels)} | {metric.help} |\n"
        for metric in sorted(METRICS, key=lambda metric: metric.name)
    )
    return (
        "<!-- Generated from monitor/metrics/names.py by `make generate`; do not edit. -->\n"
        "# Metrics\n\n"
        "What `/metrics` shows is the last committed state of the ledger: counters never reset, every replica shows "
        "the same, and what is not known is a missing series, never NaN.\n\n"
        "| metric | type | labels | meaning |\n|---|---|---|---|\n" + "".join(rows)
    )


def _code(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


if __name__ == "__main__":
    sys.stdout.write(metrics_reference())
