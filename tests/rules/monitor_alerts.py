"""Alerts about the monitor itself."""

from __future__ import annotations

from tests.rules.spec import ROLLOUT, ROLLOUT_QUERY, AlertSpec, policy, rollout, series

_TRUSTED = series("cliffwatch_calibration_trusted", calibration="c-1")
_LIVE_TRUSTED = series("cliffwatch_calibration_live_trusted", calibration="c-1")
_READY = series("cliffwatch_ready")
_LAG = series("cliffwatch_consumer_lag_records", topic="agent-traces", partition="0")
_CONSUMED = series("cliffwatch_records_consumed_total", topic="agent-traces", partition="0")
_LAST_COMMIT = series("cliffwatch_last_commit_timestamp_seconds")
_UNRESOLVED = series(
    "cliffwatch_versions_unresolved_total",
    service="shop",
    environment="production",
    requested_model="m",
    outcome="failure",
)
_REQUESTS = series(
    "cliffwatch_requests_total",
    service="shop",
    environment="production",
    model_version="m-1",
    tier="hard",
    capability="search",
)
_DEAD_LETTERS = series("cliffwatch_dead_letters_total", reason="too_large")
_KAFKA = series("cliffwatch_health", check="kafka")
_SKEWED = series("cliffwatch_ignored_total", reason="clock_skewed")
_SKEWED_LETTERS = series("cliffwatch_dead_letters_total", reason="clock_skewed")
_ONE_SIDED = series("cliffwatch_labels_one_sided", ROLLOUT)
_DROPPED = series("cliffwatch_series_dropped_total", reason="series")


def _coverage(arm: str, tier: str) -> str:
    model_version = ROLLOUT[arm]
    return series("cliffwatch_label_coverage_ratio", ROLLOUT, model_version=model_version, arm=arm, tier=tier)


def _gap(group: str) -> str:
    return series("cliffwatch_label_coverage_gap_ratio", ROLLOUT, tier_group=group)


def _moved(group: str) -> str:
    return series("cliffwatch_judge_moved", ROLLOUT, tier_group=group)


def _error(arm: str) -> str:
    labels = {"tier_group": "all", "kind": "false_success", "bound": "estimate"}
    return series("cliffwatch_judge_error_ratio", ROLLOUT, labels, arm=arm)


def _tiers_by(rung: str) -> str:
    return rollout("tiers_info", tiers_by=rung, comparison="concurrent")


TIERS_UNTRUSTED = AlertSpec(
    alert="CliffwatchTiersUntrusted",
    needs={_TRUSTED: "0"},
    shows={
        series("cliffwatch_calibration_auc", calibration="c-1"): "0.625",
        series("cliffwatch_calibration_error", calibration="c-1"): "0.25",
        series("cliffwatch_calibration_missing_info", calibration="c-1", reason="2 more versions needed."): "1",
    },
    interval="1m",
    after="30m",
    labels={"severity": "warning", "signature": "monitor-tiers"},
    annotations={
        "summary": "Some requests have no trusted difficulty tier, so verdicts say nothing about hard requests.",
        "description": "The calibration in force orders requests of one version with an AUC of 0.62 and a calibration "
        "error of 0.25. Verdicts on all requests and on classes go on without it; declared tiers and tiers by class "
        "need none. 2 more versions needed.",
        "action": "Nothing tonight. `cliffwatch doctor` says what is missing, and the cheapest next step.",
    },
    dashboard="monitor",
    silent={
        "the calibration is trusted": {_TRUSTED: "1", _tiers_by("none"): "1"},
        "every rollout has tiers without one": {_TRUSTED: None, _tiers_by("class"): "1"},
        "nothing is rolled out": {_TRUSTED: None, _READY: "1"},
    },
    fires={"no calibration is in force, and a rollout goes without tiers": {_TRUSTED: None, _tiers_by("none"): "1"}},
    resolves={_TRUSTED: "0x40 1x100"},
    resolved_at="60m",
)

CALIBRATION_DOUBTED = AlertSpec(
    alert="CliffwatchCalibrationDoubted",
    needs={_LIVE_TRUSTED: "0"},
    shows={
        series("cliffwatch_calibration_live_auc", calibration="c-1"): "0.625",
        series("cliffwatch_calibration_missing_info", calibration="c-1", reason="The calibration drifts."): "1",
    },
    interval="1m",
    after="30m",
    labels={"severity": "warning", "signature": "monitor-calibration"},
    annotations={
        "summary": "Recent labels contradict the difficulty tiers; verdicts still use them.",
        "description": "The calibration in force no longer predicts what live versions fail (an AUC of 0.62 within "
        "them); no tag or verdict was changed. The calibration drifts.",
        "action": "Nothing tonight. Plan new reference runs, and learn from them with `cliffwatch calibrate`.",
    },
    dashboard="monitor",
    silent={"live labels do not speak against it": {_LIVE_TRUSTED: "1"}},
    resolves={_LIVE_TRUSTED: "0x40 1x100"},
    resolved_at="60m",
)

LABEL_COVERAGE_LOW = AlertSpec(
    alert="CliffwatchLabelCoverageLow",
    needs={_gap("hard"): "0.125", policy("ok_margin_hard_ratio"): "0.125"},
    shows={_coverage("baseline", "all"): "0.75", _coverage("candidate", "all"): "0.625"},
    interval="1m",
    after="1h",
    labels={"severity": "warning", "signature": "monitor-labels", **ROLLOUT},
    annotations={
        "summary": "Too few requests get an outcome for the two arms to be compared.",
        "description": "shop (production), m-1 to m 2. Of hard requests that are old enough to be judged, the part "
        "with an outcome differs by 12.5 points between the arms, which could hide a change of that size. "
        "All requests with an outcome: baseline 75%, candidate 62.5%.",
        "action": "Find where outcomes get lost: in the judge, in its queue, or on the way to Kafka. Until then the "
        "verdict waits.",
    },
    dashboard=f"monitor{ROLLOUT_QUERY}",
    silent={
        "the gap hides less than the margin": {_gap("hard"): "0.0625"},
        "only the easier tiers differ": {_gap("hard"): "0", _gap("easier"): "0.5"},
    },
    fires={
        "all requests differ by their own margin": {
            _gap("hard"): None,
            _gap("all"): "0.03125",
            policy("ok_margin_ratio"): "0.03125",
        },
        "no label comes at all": {
            _gap("hard"): None,
            _coverage("baseline", "all"): "0",
            _coverage("candidate", "all"): "0",
        },
    },
    resolves={_gap("hard"): "0.125x70 0x100"},
    resolved_at="90m",
)

LABELS_ONE_SIDED = AlertSpec(
    alert="CliffwatchLabelsOneSided",
    needs={_ONE_SIDED: "1"},
    shows={
        rollout("labelled_requests", arm="baseline"): "300",
        rollout("labelled_requests", arm="candidate"): "200",
    },
    interval="1m",
    after="1h",
    labels={"severity": "warning", "signature": "monitor-labels-one-sided", **ROLLOUT},
    annotations={
        "summary": "All labels say the same thing, so failure rates cannot be measured.",
        "description": "shop (production), m-1 to m 2: every label says success, or every one says failure, so "
        "the other outcome probably gets no label. Labelled requests: baseline 300, candidate 200.",
        "action": "Let the source of the labels write the other outcome too, or let a judge label a sample.",
    },
    dashboard=f"monitor{ROLLOUT_QUERY}",
    silent={"they say both": {_ONE_SIDED: "0"}},
    resolves={_ONE_SIDED: "1x70 0x100"},
    resolved_at="90m",
)

JUDGE_MOVED = AlertSpec(
    alert="CliffwatchJudgeMoved",
    needs={_moved("hard"): "1"},
    shows={_error("baseline"): "0.25", _error("candidate"): "0.0625"},
    interval="1m",
    after="15m",
    labels={"severity": "warning", "signature": "monitor-judge", **ROLLOUT},
    annotations={
        "summary": "The judge makes more mistakes on one version than on the other, or began to judge differently.",
        "description": "shop (production), m-1 to m 2: checked against people, the judge is wrong on 25% "
        "of the bad answers of the baseline, 6.25% of the bad answers of the candidate. Where people check both "
        "versions, the verdict's failure rates are corrected for this.",
        "action": "Before you blame the candidate, find out what changed in the judge: its model, prompt or rubric.",
    },
    dashboard=f"monitor{ROLLOUT_QUERY}",
    silent={"it errs as often in both": {_moved("hard"): "0"}},
    fires={"in one group of three": {_moved("all"): "0", _moved("easier"): "0"}},
    resolves={_moved("hard"): "1x40 0x100"},
    resolved_at="60m",
)

CONSUMER_LAGGING = AlertSpec(
    alert="CliffwatchConsumerLagging",
    needs={_LAG: "700", _CONSUMED: "0+15x400"},
    after="615s",
    labels={"severity": "warning", "signature": "monitor-lag", "topic": "agent-traces"},
    annotations={
        "summary": "Traces are read more slowly than they arrive, so what is shown is old.",
        "description": "Topic agent-traces: 700 records are waiting, read at 1 per second; "
        "that is more than ten minutes of work.",
        "action": "Look at the lag by partition: if all lag, add replicas; if one does, look at its replica.",
    },
    dashboard="monitor",
    silent={
        "just ten minutes of work are waiting": {_LAG: "0x40 600x400"},
        "a few records wait in an idle topic": {_LAG: "100", _CONSUMED: "5"},
    },
    fires={
        "nothing is read": {_LAG: "101", _CONSUMED: "5"},
        "the lag is spread over partitions": {
            _LAG: "350",
            series("cliffwatch_consumer_lag_records", topic="agent-traces", partition="1"): "350",
        },
    },
    resolves={_LAG: "700x60 0x100"},
    resolved_at="1305s",
)

CONSUMER_STALLED = AlertSpec(
    alert="CliffwatchConsumerStalled",
    needs={_LAST_COMMIT: "0", _LAG: "0+1x400"},
    after="435s",
    labels={"severity": "critical", "signature": "monitor-stalled"},
    annotations={
        "summary": "Records arrive but nothing is written to the ledger, so verdicts do not change.",
        "description": "The last batch was committed 7m 15s ago and 29 records are waiting.",
        "action": "Search the log for `service.paused`, `batch.fenced` or `batch.corrupt`, and check the database "
        "(reachable, disk, locks). A restart is safe.",
    },
    dashboard="monitor",
    silent={
        "nothing new has arrived since": {_LAG: "5"},
        "the log ends in the marker of an aborted transaction": {_LAG: "0x40 7x400"},
        "batches are committed": {_LAST_COMMIT: "0+15x400"},
        "the last batch is just five minutes old": {_LAST_COMMIT: "0x20 15+15x400"},
    },
    resolves={_LAST_COMMIT: "0x40 615+15x100"},
    resolved_at="1005s",
)

DEAD_LETTERS_RISING = AlertSpec(
    alert="CliffwatchDeadLettersRising",
    needs={_DEAD_LETTERS: "0x80 100x400", _CONSUMED: "0+15x480"},
    after="1515s",
    labels={"severity": "warning", "signature": "monitor-dead-letters"},
    annotations={
        "summary": "Some records cannot be processed and are missing from all counts.",
        "description": "100 dead letters in 15 minutes among 900 records; most often for too_large.",
        "action": "Read the newest dead letter, and fix the producer that wrote the record. Counts may be missing from "
        "one arm only.",
    },
    dashboard="monitor",
    silent={
        "there are fewer than ten": {_DEAD_LETTERS: "0x80 9x400", _CONSUMED: "0+1x480"},
        "there is just less than one in a hundred": {_DEAD_LETTERS: "0x80 10x400", _CONSUMED: "0+17x480"},
    },
    fires={"there are just ten": {_DEAD_LETTERS: "0x80 10x400"}},
    resolves={_DEAD_LETTERS: "0x80 100x400"},
    resolved_at="3105s",
)

CLOCK_SKEW = AlertSpec(
    alert="CliffwatchClockSkew",
    needs={_SKEWED: "0x80 30x400", _SKEWED_LETTERS: "0x480"},
    after="1275s",
    labels={"severity": "warning", "signature": "monitor-clock-skew"},
    annotations={
        "summary": "A producer's clock is wrong, and dates its events in the future or far in the past.",
        "description": "30 such events in 15 minutes; "
        "Cliffwatch uses their time of arrival, or makes them dead letters.",
        "action": "Set the clock of the producer; dead letters with the reason `clock_skewed` name its service.",
    },
    dashboard="monitor",
    silent={"every time can be believed": {_SKEWED: "30x480"}},
    fires={"all of them are refused": {_SKEWED: "0x480", _SKEWED_LETTERS: "0x80 30x400"}},
    resolves={_SKEWED: "0x80 30x400"},
    resolved_at="3015s",
)

SERIES_DROPPED = AlertSpec(
    alert="CliffwatchSeriesDropped",
    needs={_DROPPED: "0x80 40x400"},
    after="1515s",
    labels={"severity": "warning", "signature": "monitor-series-dropped"},
    annotations={
        "summary": "A service is over a cap, so its new versions count as `other` and get no verdict, "
        "or its spans are put together early.",
        "description": "40 requests, failures and spans in 15 minutes were over a cap; most often that of series.",
        "action": "Find the name that keeps changing (a build number, a date, a user) and let the service write a "
        "stable one; for pending_spans, look for traces that never end.",
    },
    dashboard="monitor",
    silent={"names were over it long ago": {_DROPPED: "40x480"}},
    fires={"there is just one": {_DROPPED: "0x80 1x400"}},
    resolves={_DROPPED: "0x80 40x400"},
    resolved_at="3015s",
)

KAFKA_UNREACHABLE = AlertSpec(
    alert="CliffwatchKafkaUnreachable",
    needs={_KAFKA: "0"},
    shows={_READY: "0"},
    after="1m",
    labels={"severity": "critical", "signature": "monitor-kafka", "check": "kafka"},
    annotations={
        "summary": "Kafka's brokers do not answer, so nothing is read and verdicts do not change.",
        "description": "0 replicas are ready; records wait in Kafka as long as its retention lasts.",
        "action": "Check the brokers, and the network to them. Cliffwatch goes on by itself when they answer.",
    },
    dashboard="monitor",
    silent={
        "the brokers answer": {_KAFKA: "1"},
        "they were away for just less than a minute": {_KAFKA: "0x3 1x400"},
    },
    resolves={_KAFKA: "0x30 1x200"},
    resolved_at="465s",
)

VERSIONS_UNRESOLVED = AlertSpec(
    alert="CliffwatchVersionsUnresolved",
    needs={_UNRESOLVED: "0+1x600", _REQUESTS: "0+10x600"},
    after="750s",
    labels={
        "severity": "warning",
        "signature": "monitor-versions",
        "service": "shop",
        "environment": "production",
    },
    annotations={
        "summary": "Requests do not say which version served them, so no verdict counts them.",
        "description": "shop in production: 50 requests in an hour have no known version, of 500.",
        "action": "Let the service write the model version into its traces; `cliffwatch doctor` names the service and "
        "what its traces lack.",
    },
    dashboard="monitor?var-service=shop&var-environment=production",
    silent={
        "there are fewer than ten": {_UNRESOLVED: "0x20 9x600"},
        "there are fewer than one in fifty": {_REQUESTS: "0+100x600"},
    },
    resolves={_UNRESOLVED: "0+1x60 60x600"},
    resolved_at="5400s",
)

ABSENT = AlertSpec(
    alert="CliffwatchAbsent",
    needs={},
    after="5m",
    labels={"severity": "critical", "signature": "monitor-absent"},
    annotations={
        "summary": "No Cliffwatch replica is ready, so no rollout is watched.",
        "description": "Prometheus has no sample of cliffwatch_ready; no new alert on a rollout can fire.",
        "action": "Read the log or `/-/ready` of a replica: they say what is missing. Hold rollouts of models until "
        "one is ready.",
    },
    dashboard="monitor",
    silent={
        "a replica is ready": {_READY: "1"},
        "one of two replicas is ready": {_READY: "0", series("cliffwatch_ready", instance="10.0.0.2:9464"): "1"},
        "it was away for just less than five minutes": {_READY: "_x19 1x400"},
    },
    fires={"no replica is ready": {_READY: "0"}},
    resolves={_READY: "_x30 1x200"},
    resolved_at="480s",
    is_about_absence=True,
)

ALERTS = (
    TIERS_UNTRUSTED,
    CALIBRATION_DOUBTED,
    LABEL_COVERAGE_LOW,
    LABELS_ONE_SIDED,
    JUDGE_MOVED,
    CONSUMER_LAGGING,
    CONSUMER_STALLED,
    DEAD_LETTERS_RISING,
    CLOCK_SKEW,
    SERIES_DROPPED,
    KAFKA_UNREACHABLE,
    VERSIONS_UNRESOLVED,
    ABSENT,
)
