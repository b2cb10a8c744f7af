"""Alerts about one rollout. Values are sums of powers of two, so that what is compared is exact."""

from __future__ import annotations

from tests.rules.spec import MERGED, ROLLOUT, SERVICE, AlertSpec, series

_ROLLOUT_DASHBOARD = "cliffwatch-rollout?var-service=shop&var-environment=production&var-baseline=m-1&var-candidate=m+2"


def _rollout(name: str, **more: str) -> str:
    return series(f"cliffwatch_rollout_{name}", ROLLOUT, **more)


def _policy(name: str, **more: str) -> str:
    return series(f"cliffwatch_policy_{name}", SERVICE, **more)


SHARE_JUMP = AlertSpec(
    alert="HardTierFailureShareJump",
    needs={
        _policy("share_jump_ratio"): "0.125",
        _policy("min_hard_failures"): "30",
        _rollout("hard_failures", arm="baseline"): "30",
        _rollout("hard_failures", arm="candidate"): "30",
        _rollout("hard_share_change", bound="estimate"): "0.25",
        _rollout("hard_share_change", bound="lower"): "0.0625",
    },
    shows={
        _rollout("hard_share_ratio", arm="baseline", tier="hard", bound="estimate"): "0.5",
        _rollout("hard_share_ratio", arm="candidate", tier="hard", bound="estimate"): "0.75",
        _rollout("expected_change"): "0.125",
        _rollout("hard_share_change_component", component="traffic_mix"): "-0.0625",
        _rollout("hard_share_change_component", component="easier_tiers"): "0.25",
        _rollout("hard_share_change_component", component="hard_tiers"): "0.0625",
    },
    after="30s",
    labels={"severity": "warning", "signature": "hard-tier-share", "tier": "hard", **ROLLOUT, **MERGED},
    annotations={
        "summary": "After a rollout, a larger part of all failures are hard-tier failures.",
        "description": "shop (production), m-1 to m 2: the hard tier's share of failures rose from 50% to 75%, "
        "by 25.0 points (at least 6.2); the policy calls 12.5 points a jump, and a uniform gain in ability would give "
        "12.5. Main cause: easier requests fail less.",
        "cause": "easier_tiers +25.0 points, hard_tiers +6.2 points, traffic_mix -6.2 points",
    },
    dashboard=_ROLLOUT_DASHBOARD,
    silent={
        "the jump is just below the policy's": {_rollout("hard_share_change", bound="estimate"): "0.1249"},
        "the lower bound is just zero": {_rollout("hard_share_change", bound="lower"): "0"},
        "the baseline has too few hard-tier failures": {_rollout("hard_failures", arm="baseline"): "29"},
        "the candidate has too few hard-tier failures": {_rollout("hard_failures", arm="candidate"): "29"},
        "the policy is another service's": {
            _policy("share_jump_ratio"): None,
            _policy("share_jump_ratio", service="other"): "0.125",
        },
    },
    fires={
        "the jump is just the policy's": {_rollout("hard_share_change", bound="estimate"): "0.125"},
        "another rollout of the same service has no jump": {
            _rollout("hard_share_change", bound="estimate", candidate="m-3"): "0",
        },
    },
    resolves={_rollout("hard_share_change", bound="estimate"): "0.25x20 0.0625x200"},
    resolved_at="22m",
)

FLOOR_BREACHED = AlertSpec(
    alert="HardTierFloorBreached",
    needs={
        _policy("floor_pass_ratio", capability=""): "0.5",
        _rollout("failure_ratio", arm="candidate", tier="hard", bound="lower"): "0.625",
    },
    after="30s",
    labels={"severity": "critical", "signature": "hard-tier-floor", "tier": "hard", **ROLLOUT, **MERGED},
    annotations={
        "summary": "The candidate passes fewer hard-tier requests than the floor that was agreed on beforehand.",
        "description": "shop (production), m-1 to m 2: at most 37.5% of the hard tier's requests pass, "
        "and the agreed floor is 50%.",
        "cause": "the hard tier itself, whatever the traffic mix",
    },
    dashboard=_ROLLOUT_DASHBOARD,
    silent={
        "the highest possible pass rate is just the floor": {
            _rollout("failure_ratio", arm="candidate", tier="hard", bound="lower"): "0.5",
        },
        "only the frontier tier is below the floor": {
            _rollout("failure_ratio", arm="candidate", tier="hard", bound="lower"): "0.25",
            _rollout("failure_ratio", arm="candidate", tier="frontier", bound="lower"): "0.875",
        },
        "only the estimate is below the floor, because there is too little data": {
            _rollout("failure_ratio", arm="candidate", tier="hard", bound="lower"): "0.125",
            _rollout("failure_ratio", arm="candidate", tier="hard", bound="estimate"): "0.875",
        },
        "the baseline is below the floor": {
            _rollout("failure_ratio", arm="candidate", tier="hard", bound="lower"): "0.25",
            _rollout("failure_ratio", arm="baseline", tier="hard", bound="lower"): "0.875",
        },
        "an easier tier is below the floor": {
            _rollout("failure_ratio", arm="candidate", tier="hard", bound="lower"): None,
            _rollout("failure_ratio", arm="candidate", tier="medium", bound="lower"): "0.875",
        },
    },
    fires={
        "hard and frontier are both below the floor": {
            _rollout("failure_ratio", arm="candidate", tier="frontier", bound="lower"): "0.875",
        },
    },
    resolves={_rollout("failure_ratio", arm="candidate", tier="hard", bound="lower"): "0.625x20 0.25x200"},
    resolved_at="22m",
)

ALERTS = (SHARE_JUMP, FLOOR_BREACHED)
