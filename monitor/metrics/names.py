"""Every metric that Cliffwatch exports: metrics.toml says what it is, and docs/metrics.md is generated from it."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files


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


_TABLE = tomllib.loads(files("monitor.metrics").joinpath("metrics.toml").read_text(encoding="utf-8"))
_BY_NAME = {
    name: Metric(name, MetricKind(entry["kind"]), entry["help"], tuple(entry.get("labels", ())))
    for name, entry in _TABLE.items()
}
METRICS = tuple(_BY_NAME.values())
"""Every metric, in the order of metrics.toml."""

# Traffic and outcomes.
REQUESTS = _BY_NAME["cliffwatch_requests_total"]
OUTCOMES = _BY_NAME["cliffwatch_outcomes_total"]
OUTCOME_REVISIONS = _BY_NAME["cliffwatch_outcome_revisions_total"]
FAILURES_BY_CLASS = _BY_NAME["cliffwatch_failures_by_class_total"]
REQUEST_DURATION = _BY_NAME["cliffwatch_request_duration_seconds"]
REQUEST_TOKENS = _BY_NAME["cliffwatch_request_tokens_total"]
REQUEST_COST = _BY_NAME["cliffwatch_request_cost_dollars_total"]
REQUEST_STEPS = _BY_NAME["cliffwatch_request_steps"]
TOOL_CALLS = _BY_NAME["cliffwatch_tool_calls_total"]
BUDGET_EXCEEDED = _BY_NAME["cliffwatch_budget_exceeded_total"]
ALIAS_REQUESTS = _BY_NAME["cliffwatch_alias_requests_total"]
TIER_TRAFFIC_RATIO = _BY_NAME["cliffwatch_tier_traffic_ratio"]
MODEL_VERSION_INFO = _BY_NAME["cliffwatch_model_version_info"]

# Rollouts that are under way, each with its latest verdict.
ROLLOUT_INFO = _BY_NAME["cliffwatch_rollout_info"]
ROLLOUT_START = _BY_NAME["cliffwatch_rollout_start_timestamp_seconds"]
ROLLOUT_VERDICT = _BY_NAME["cliffwatch_rollout_verdict"]
ROLLOUT_REGRESSION = _BY_NAME["cliffwatch_rollout_regression"]
ROLLOUT_TIERS = _BY_NAME["cliffwatch_rollout_tiers_info"]
ROLLOUT_FAILURE_RATIO = _BY_NAME["cliffwatch_rollout_failure_ratio"]
ROLLOUT_FAILURE_CHANGE = _BY_NAME["cliffwatch_rollout_failure_change"]
ROLLOUT_AGGREGATE_FAILURE_RATIO = _BY_NAME["cliffwatch_rollout_aggregate_failure_ratio"]
ROLLOUT_AGGREGATE_FAILURE_CHANGE = _BY_NAME["cliffwatch_rollout_aggregate_failure_change"]
ROLLOUT_HARD_TIER_FAILURE_RATIO = _BY_NAME["cliffwatch_rollout_hard_tier_failure_ratio"]
ROLLOUT_HARD_TIER_FAILURE_CHANGE = _BY_NAME["cliffwatch_rollout_hard_tier_failure_change"]
ROLLOUT_CAPABILITY_FAILURE_RATIO = _BY_NAME["cliffwatch_rollout_capability_failure_ratio"]
ROLLOUT_CLASS_FAILURE_RATIO = _BY_NAME["cliffwatch_rollout_class_failure_ratio"]
ROLLOUT_CAPABILITY_REGRESSED = _BY_NAME["cliffwatch_rollout_capability_regressed"]
ROLLOUT_HARD_SHARE = _BY_NAME["cliffwatch_rollout_hard_share_ratio"]
ROLLOUT_HARD_SHARE_CHANGE = _BY_NAME["cliffwatch_rollout_hard_share_change"]
ROLLOUT_EXPECTED_CHANGE = _BY_NAME["cliffwatch_rollout_expected_change"]
ROLLOUT_HARD_SHARE_EXCESS = _BY_NAME["cliffwatch_rollout_hard_share_excess"]
ROLLOUT_HARD_SHARE_COMPONENT = _BY_NAME["cliffwatch_rollout_hard_share_change_component"]
ROLLOUT_REQUESTS_NEEDED = _BY_NAME["cliffwatch_rollout_requests_needed"]
ROLLOUT_LABELLED_REQUESTS = _BY_NAME["cliffwatch_rollout_labelled_requests"]
ROLLOUT_HARD_FAILURES = _BY_NAME["cliffwatch_rollout_hard_failures"]
LABEL_COVERAGE = _BY_NAME["cliffwatch_label_coverage_ratio"]
ROLLOUT_FLOOR = _BY_NAME["cliffwatch_rollout_floor_pass_ratio"]
ROLLOUT_LOAD = _BY_NAME["cliffwatch_rollout_failures_per_1000_requests"]

# The policy in force: what the rules compare with.
POLICY_SHARE_JUMP = _BY_NAME["cliffwatch_policy_share_jump_ratio"]
POLICY_ERROR = _BY_NAME["cliffwatch_policy_error_ratio"]
POLICY_MIN_LABELLED = _BY_NAME["cliffwatch_policy_min_labelled_requests"]
POLICY_MIN_HARD_FAILURES = _BY_NAME["cliffwatch_policy_min_hard_failures"]
POLICY_OK_MARGIN = _BY_NAME["cliffwatch_policy_ok_margin_ratio"]
POLICY_OK_MARGIN_HARD = _BY_NAME["cliffwatch_policy_ok_margin_hard_ratio"]
POLICY_CAPABILITY_MIN_SHARE = _BY_NAME["cliffwatch_policy_capability_min_share_ratio"]
POLICY_BASELINE = _BY_NAME["cliffwatch_policy_baseline_seconds"]
POLICY_MATURITY = _BY_NAME["cliffwatch_policy_maturity_seconds"]
POLICY_RAMP = _BY_NAME["cliffwatch_policy_ramp_seconds"]
POLICY_ROLLBACK = _BY_NAME["cliffwatch_policy_rollback_seconds"]
POLICY_CANDIDATE_MIN_SHARE = _BY_NAME["cliffwatch_policy_candidate_min_share_ratio"]
POLICY_CANDIDATE_MIN_REQUESTS = _BY_NAME["cliffwatch_policy_candidate_min_requests"]
POLICY_MAX_COVERAGE_GAP = _BY_NAME["cliffwatch_policy_max_coverage_gap_ratio"]
POLICY_FLOOR = _BY_NAME["cliffwatch_policy_floor_pass_ratio"]

# The calibration in force.
CALIBRATION_INFO = _BY_NAME["cliffwatch_calibration_info"]
CALIBRATION_AUC = _BY_NAME["cliffwatch_calibration_auc"]
CALIBRATION_ERROR = _BY_NAME["cliffwatch_calibration_error"]
CALIBRATION_AGE = _BY_NAME["cliffwatch_calibration_age_seconds"]
CALIBRATION_TRUSTED = _BY_NAME["cliffwatch_calibration_trusted"]
CALIBRATION_VERSIONS = _BY_NAME["cliffwatch_calibration_versions"]
CALIBRATION_KNOWN = _BY_NAME["cliffwatch_calibration_known_ratio"]
CALIBRATION_MISSING = _BY_NAME["cliffwatch_calibration_missing_info"]
CALIBRATION_LIVE_TRUSTED = _BY_NAME["cliffwatch_calibration_live_trusted"]
CALIBRATION_LIVE_VERSIONS = _BY_NAME["cliffwatch_calibration_live_versions"]
CALIBRATION_LIVE_AUC = _BY_NAME["cliffwatch_calibration_live_auc"]
CALIBRATION_LIVE_ERROR = _BY_NAME["cliffwatch_calibration_live_error"]
CALIBRATION_LIVE_KNOWN = _BY_NAME["cliffwatch_calibration_live_known_ratio"]
CALIBRATION_DRIFTING = _BY_NAME["cliffwatch_calibration_drifting"]
CALIBRATION_LIVE_RESIDUAL = _BY_NAME["cliffwatch_calibration_live_residual"]
CALIBRATION_ANCHORS_MOVED = _BY_NAME["cliffwatch_calibration_anchors_moved_ratio"]

# The monitor itself.
RECORDS_CONSUMED = _BY_NAME["cliffwatch_records_consumed_total"]
DEAD_LETTERS = _BY_NAME["cliffwatch_dead_letters_total"]
DUPLICATE_RECORDS = _BY_NAME["cliffwatch_duplicate_records_total"]
UNKNOWN_FIELDS = _BY_NAME["cliffwatch_unknown_fields_total"]
SPANS = _BY_NAME["cliffwatch_spans_total"]
SPANS_WAITING = _BY_NAME["cliffwatch_spans_waiting"]
IGNORED = _BY_NAME["cliffwatch_ignored_total"]
VERSIONS_UNRESOLVED = _BY_NAME["cliffwatch_versions_unresolved_total"]
SERIES_DROPPED = _BY_NAME["cliffwatch_series_dropped_total"]
CONSUMER_LAG = _BY_NAME["cliffwatch_consumer_lag_records"]
LAST_COMMIT = _BY_NAME["cliffwatch_last_commit_timestamp_seconds"]
LAST_TURN = _BY_NAME["cliffwatch_last_turn_timestamp_seconds"]
BATCHES_FENCED = _BY_NAME["cliffwatch_batches_fenced_total"]
PAUSES = _BY_NAME["cliffwatch_pauses_total"]
JOB_DURATION = _BY_NAME["cliffwatch_job_duration_seconds"]
READY = _BY_NAME["cliffwatch_ready"]
HEALTH = _BY_NAME["cliffwatch_health"]
BUILD_INFO = _BY_NAME["cliffwatch_build_info"]


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
