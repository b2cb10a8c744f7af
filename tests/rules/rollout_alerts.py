"""Alerts about what a rollout did. Values are sums of powers of two, so that what is compared is exact."""

from __future__ import annotations

from tests.rules.spec import ROLLOUT, ROLLOUT_QUERY, AlertSpec, policy, rollout

_AVERAGE = {
    rollout("aggregate_failure_ratio", arm="baseline", bound="estimate"): "0.25",
    rollout("aggregate_failure_ratio", arm="candidate", bound="estimate"): "0.125",
}
_HARD = {
    rollout("hard_tier_failure_ratio", arm="baseline", bound="estimate"): "0.75",
    rollout("hard_tier_failure_ratio", arm="candidate", bound="estimate"): "0.6875",
}
_SHARE = {
    rollout("hard_share_ratio", arm="baseline", tier="hard", bound="estimate"): "0.5",
    rollout("hard_share_ratio", arm="candidate", tier="hard", bound="estimate"): "0.75",
    rollout("expected_change"): "0.125",
    rollout("hard_share_excess", bound="lower"): "0.03125",
    rollout("hard_share_change_component", component="traffic_mix"): "-0.0625",
    rollout("hard_share_change_component", component="easier_tiers"): "0.25",
    rollout("hard_share_change_component", component="hard_tiers"): "0.0625",
}
_CHANGES = {
    rollout("aggregate_failure_change", bound="lower"): "0.0625",
    rollout("aggregate_failure_change", bound="upper"): "0.1875",
    rollout("hard_tier_failure_change", bound="lower"): "-0.03125",
    rollout("hard_tier_failure_change", bound="upper"): "0.25",
}
_STILL = "all requests +6.2 to +18.8 points, the hard tier -3.1 to +25.0 points"
_CLASSES = {
    rollout("class_failure_ratio", capability=name, arm=arm, bound="estimate"): value
    for name, both in {
        "search": ("0.5", "0.25"),
        "orders": ("0.125", "0.25"),
        "returns": ("0.25", "0.3125"),
        "accounts": ("0.25", "0.28125"),
        "refunds": ("0.25", "0.5"),
    }.items()
    for arm, value in zip(("baseline", "candidate"), both, strict=True)
}
_WORST = "refunds 25.0% to 50.0%, orders 12.5% to 25.0%, returns 25.0% to 31.2%"
_CAUSE = "easier tiers +25.0 points, hard tiers +6.2 points, traffic mix -6.2 points"

CAPABILITY_CLIFF = AlertSpec(
    alert="CapabilityCliff",
    needs={rollout("verdict", verdict="cliff"): "1"},
    shows={**_AVERAGE, **_HARD, **_SHARE, **_CHANGES, **_CLASSES},
    after="30s",
    labels={"severity": "critical", "signature": "hard-tier-cliff", "tier": "hard", **ROLLOUT},
    annotations={
        "summary": "The average improved and the hard tier was left behind.",
        "description": "shop (production), m-1 to m 2: the failure rate of all requests went from 25% to 12.5%, "
        "that of the hard tier from 75% to 68.75%. The hard tier's share of failures went from 50% to 75%; "
        "a uniform gain in ability would move it by 12.5 points, and at least 3.1 points remain unexplained.",
        "cause": _CAUSE,
        "action": "Hold the rollout; a rollback is seldom needed. Send the classes that were left behind back to m-1, "
        "and tell the people on call that most failures are hard ones now.",
        "verdict": "cliff",
        "could_still_be": _STILL,
        "worst_classes": _WORST,
    },
    dashboard=f"rollout{ROLLOUT_QUERY}",
    silent={
        "the verdict is another one": {
            rollout("verdict", verdict="cliff"): "0",
            rollout("verdict", verdict="ok"): "1",
        },
        "the verdict lasts for one evaluation only": {rollout("verdict", verdict="cliff"): "1 0x20"},
    },
    resolves={rollout("verdict", verdict="cliff"): "1x20 0x200"},
    resolved_at="22m",
)

CANDIDATE_REGRESSION = AlertSpec(
    alert="CandidateRegression",
    needs={rollout("regression", scope="all"): "1"},
    shows={
        rollout("regression", scope="easier"): "1",
        rollout("regression", scope="hard"): "0",
        rollout("aggregate_failure_ratio", arm="baseline", bound="estimate"): "0.125",
        rollout("aggregate_failure_ratio", arm="candidate", bound="estimate"): "0.25",
        rollout("verdict", verdict="regression"): "1",
        rollout("verdict", verdict="ok"): "0",
        rollout("aggregate_failure_change", bound="lower"): "0.0625",
        rollout("aggregate_failure_change", bound="upper"): "0.1875",
    },
    after="30s",
    labels={"severity": "critical", "signature": "candidate-regression", **ROLLOUT},
    annotations={
        "summary": "The candidate fails more requests than the baseline.",
        "description": "shop (production), m-1 to m 2: the failure rate of all requests went from 12.5% to 25%; at the "
        "same hours and the same mix of requests, by at least 6.2 points. Shown to be worse: all, easier.",
        "cause": "the candidate, not the traffic mix",
        "action": "Stop the rollout and roll back to m-1, unless the cases show a cause outside the model.",
        "verdict": "regression",
        "could_still_be": "all requests +6.2 to +18.8 points; nothing is known about the hard tier",
    },
    dashboard=f"rollout{ROLLOUT_QUERY}",
    silent={
        "it is not shown": {rollout("regression", scope="all"): "0"},
        "only the hard tier fails more often, which has its own alert": {
            rollout("regression", scope="all"): "0",
            rollout("regression", scope="hard"): "1",
        },
        "only one class fails more often, which has its own alert": {
            rollout("regression", scope="all"): "0",
            rollout("regression", scope="capability:all"): "1",
        },
    },
    fires={
        "the easier tiers fail more often": {
            rollout("regression", scope="all"): "0",
            rollout("regression", scope="easier"): "1",
        },
        "a floor of all requests is broken": {
            rollout("regression", scope="all"): "0",
            rollout("regression", scope="floor:all"): "1",
        },
    },
    resolves={rollout("regression", scope="all"): "1x20 0x200"},
    resolved_at="22m",
)

HARD_TIER_REGRESSION = AlertSpec(
    alert="HardTierRegression",
    needs={rollout("regression", scope="hard"): "1"},
    shows={
        **_AVERAGE,
        **_CHANGES,
        rollout("verdict", verdict="regression"): "1",
        rollout("hard_tier_failure_change", bound="lower"): "0.03125",
        rollout("hard_tier_failure_ratio", arm="baseline", bound="estimate"): "0.5",
        rollout("hard_tier_failure_ratio", arm="candidate", bound="estimate"): "0.625",
    },
    after="30s",
    labels={"severity": "critical", "signature": "hard-tier-regression", "tier": "hard", **ROLLOUT},
    annotations={
        "summary": "The candidate fails more hard-tier requests than the baseline.",
        "description": "shop (production), m-1 to m 2: the hard tier's failure rate rose from 50% to 62.5%, "
        "by at least 3.1 points. Over all requests it went from 25% to 12.5%.",
        "cause": "the hard tier itself, not the traffic mix",
        "action": "Stop the rollout. Roll back to m-1, or send the worst classes back to it.",
        "verdict": "regression",
        "could_still_be": "all requests +6.2 to +18.8 points, the hard tier +3.1 to +25.0 points",
    },
    dashboard=f"rollout{ROLLOUT_QUERY}",
    silent={
        "it is not shown": {rollout("regression", scope="hard"): "0"},
        "only all requests fail more often": {
            rollout("regression", scope="hard"): "0",
            rollout("regression", scope="all"): "1",
        },
    },
    resolves={rollout("regression", scope="hard"): "1x20 0x200"},
    resolved_at="22m",
)

HARD_TIER_FLOOR_BREACHED = AlertSpec(
    alert="HardTierFloorBreached",
    needs={
        rollout("verdict", verdict="regression"): "1",
        rollout("floor_pass_ratio", capability=""): "0.5",
        rollout("hard_tier_failure_ratio", arm="candidate", bound="lower"): "0.625",
    },
    after="30s",
    labels={"severity": "critical", "signature": "hard-tier-floor", "tier": "hard", **ROLLOUT},
    annotations={
        "summary": "The candidate passes fewer hard-tier requests than the floor that was agreed on beforehand.",
        "description": "shop (production), m-1 to m 2: at most 37.5% of the hard tier's requests pass, "
        "and the agreed floor is 50%.",
        "cause": "the hard tier itself, not the traffic mix",
        "action": "Roll back to m-1. Only the people who agreed on the floor can decide otherwise.",
        "verdict": "regression",
    },
    dashboard=f"rollout{ROLLOUT_QUERY}",
    silent={
        "the highest believable pass rate is just the floor": {
            rollout("hard_tier_failure_ratio", arm="candidate", bound="lower"): "0.5",
        },
        "only the estimate is below the floor, because there is too little data": {
            rollout("hard_tier_failure_ratio", arm="candidate", bound="lower"): "0.125",
            rollout("hard_tier_failure_ratio", arm="candidate", bound="estimate"): "0.875",
        },
        "the baseline is below the floor": {
            rollout("hard_tier_failure_ratio", arm="candidate", bound="lower"): "0.25",
            rollout("hard_tier_failure_ratio", arm="baseline", bound="lower"): "0.875",
        },
        "the floor is another capability's": {
            rollout("floor_pass_ratio", capability=""): None,
            rollout("floor_pass_ratio", capability="refunds"): "0.5",
            rollout("capability_failure_ratio", capability="returns", arm="candidate", bound="lower"): "0.875",
        },
        "only the config has the floor, because it was agreed on too late": {
            rollout("floor_pass_ratio", capability=""): None,
            policy("floor_pass_ratio", capability=""): "0.5",
        },
        "the floor is another rollout's": {
            rollout("floor_pass_ratio", capability=""): None,
            rollout("floor_pass_ratio", candidate="m 3", capability=""): "0.5",
        },
        "the verdict waits, because tiers are not trusted": {
            rollout("verdict", verdict="regression"): "0",
            rollout("verdict", verdict="waiting"): "1",
        },
    },
    fires={
        "the floor is a capability's": {
            rollout("floor_pass_ratio", capability=""): None,
            rollout("floor_pass_ratio", capability="refunds"): "0.5",
            rollout("capability_failure_ratio", capability="refunds", arm="candidate", bound="lower"): "0.625",
        },
    },
    resolves={rollout("hard_tier_failure_ratio", arm="candidate", bound="lower"): "0.625x20 0.25x200"},
    resolved_at="22m",
)

HARD_TIER_FAILURE_SHARE_JUMP = AlertSpec(
    alert="HardTierFailureShareJump",
    needs={
        rollout("verdict", verdict="ok"): "1",
        policy("share_jump_ratio"): "0.125",
        policy("min_hard_failures"): "30",
        rollout("hard_failures", arm="baseline"): "30",
        rollout("hard_failures", arm="candidate"): "30",
        rollout("hard_share_change", bound="estimate"): "0.25",
        rollout("hard_share_change", bound="lower"): "0.0625",
    },
    shows={**_SHARE, **_CHANGES},
    after="30s",
    labels={"severity": "warning", "signature": "hard-tier-share", "tier": "hard", **ROLLOUT},
    annotations={
        "summary": "After a rollout, a larger part of all failures are hard-tier failures.",
        "description": "shop (production), m-1 to m 2: the hard tier's share of failures rose from 50% to 75%, "
        "by 25.0 points (at least 6.2); the policy calls 12.5 points a jump, and a uniform gain in ability would give "
        "12.5. Main cause: easier requests fail less.",
        "cause": _CAUSE,
        "action": "No rollback for this alone. If hard requests fail more, look at the cases; if easier ones fail "
        "less, expect harder incidents.",
        "verdict": "ok",
        "could_still_be": _STILL,
    },
    dashboard=f"rollout{ROLLOUT_QUERY}",
    silent={
        "the jump is just below the policy's": {rollout("hard_share_change", bound="estimate"): "0.1249"},
        "the lower bound is just zero": {rollout("hard_share_change", bound="lower"): "0"},
        "the baseline has too few hard-tier failures": {rollout("hard_failures", arm="baseline"): "29"},
        "the candidate has too few hard-tier failures": {rollout("hard_failures", arm="candidate"): "29"},
        "the policy is another service's": {
            policy("share_jump_ratio"): None,
            policy("share_jump_ratio", service="other"): "0.125",
        },
        "the verdict waits, because tiers are not trusted": {
            rollout("verdict", verdict="ok"): "0",
            rollout("verdict", verdict="waiting"): "1",
        },
    },
    fires={
        "the jump is just the policy's": {rollout("hard_share_change", bound="estimate"): "0.125"},
        "the verdict is cliff": {rollout("verdict", verdict="ok"): "0", rollout("verdict", verdict="cliff"): "1"},
        "another rollout of the same service has no jump": {
            rollout("hard_share_change", bound="estimate", candidate="m-3"): "0",
        },
    },
    resolves={rollout("hard_share_change", bound="estimate"): "0.25x20 0.0625x200"},
    resolved_at="22m",
)

CAPABILITY_CLASS_REGRESSION = AlertSpec(
    alert="CapabilityClassRegression",
    needs={rollout("capability_regressed", capability="refunds"): "1"},
    shows={
        **_AVERAGE,
        **_CLASSES,
        **_CHANGES,
        rollout("verdict", verdict="waiting"): "1",
        rollout("class_failure_ratio", capability="refunds", arm="baseline", bound="lower"): "0.1875",
        rollout("class_failure_ratio", capability="refunds", arm="baseline", bound="upper"): "0.3125",
        rollout("class_failure_ratio", capability="refunds", arm="candidate", bound="lower"): "0.375",
        rollout("class_failure_ratio", capability="refunds", arm="candidate", bound="upper"): "0.625",
    },
    after="30s",
    labels={
        "severity": "warning",
        "signature": "capability-class",
        "capability": "refunds",
        **ROLLOUT,
    },
    annotations={
        "summary": "One capability class fails more requests than before the rollout.",
        "description": "shop (production), m-1 to m 2: the failure rate of refunds requests went from 25.0% "
        "(18.8% to 31.2%) to 50.0% (37.5% to 62.5%), while that of all requests went from 25% to 12.5%.",
        "cause": "this class itself, not the traffic mix",
        "action": "Look at the cases of refunds, and send this class back to m-1 or hold the rollout.",
        "verdict": "waiting",
        "could_still_be": _STILL,
        "worst_classes": _WORST,
    },
    dashboard=f"canary{ROLLOUT_QUERY}&var-capability=refunds",
    silent={
        "the class is not shown to fail more often": {rollout("capability_regressed", capability="refunds"): "0"},
    },
    fires={
        "another class is well": {rollout("capability_regressed", capability="returns"): "0"},
        "the verdict waits, because tiers are not trusted": {rollout("verdict", verdict="waiting"): "1"},
    },
    resolves={rollout("capability_regressed", capability="refunds"): "1x20 0x200"},
    resolved_at="22m",
)

ALERTS = (
    CAPABILITY_CLIFF,
    CANDIDATE_REGRESSION,
    HARD_TIER_REGRESSION,
    HARD_TIER_FLOOR_BREACHED,
    HARD_TIER_FAILURE_SHARE_JUMP,
    CAPABILITY_CLASS_REGRESSION,
)
