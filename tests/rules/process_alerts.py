"""Alerts about what surrounds a rollout."""

from __future__ import annotations

from tests.rules.spec import ROLLOUT, ROLLOUT_QUERY, SERVICE, SERVICE_QUERY, AlertSpec, policy, rollout, series


def _version(model_version: str, *, role: str, floating: str) -> str:
    return series("cliffwatch_model_version_info", SERVICE, model_version=model_version, role=role, floating=floating)


def _outcomes(tier: str, outcome: str) -> str:
    return series(
        "cliffwatch_outcomes_total", SERVICE, model_version="m-1", capability="refunds", tier=tier, outcome=outcome
    )


_PROBED = {"service": "shop", "environment": "probes", "model_version": "m-2", "capability": "refunds"}
_SOLVED = series("cliffwatch_frontier_probe_solved_timestamp_seconds", _PROBED)

FLOOR_CHANGED = AlertSpec(
    alert="HardTierFloorChangedMidRollout",
    needs={
        policy("floor_pass_ratio", capability=""): "0.5x60 0.25x600",
        rollout("info"): "1",
        rollout("start_timestamp_seconds"): "0",
    },
    interval="1m",
    after="61m",
    looks_later=50,
    labels={"severity": "warning", "signature": "rollout-floor-changed", "tier": "hard", **SERVICE},
    annotations={
        "summary": "A pre-committed floor was changed while a rollout that it judges is under way.",
        "description": "shop (production): the floor of the hard tier's pass rate is now 25%; "
        "it was 50% half an hour ago.",
        "action": "Ask who changed it, and why now. The rollout is still judged by the floor from its start.",
    },
    dashboard=f"rollout{SERVICE_QUERY}",
    silent={
        "the floor is as it was": {policy("floor_pass_ratio", capability=""): "0.5"},
        "the rollout started after the change": {
            rollout("info"): "_x65 1x600",
            rollout("start_timestamp_seconds"): "_x65 3900x600",
        },
        "another service has the rollout": {
            rollout("info"): None,
            rollout("info", service="other"): "1",
        },
        "one rollout follows another and the floor was changed between them": {
            rollout("info"): "1x50 _x20 1x600",
            rollout("start_timestamp_seconds"): "0x50 _x20 4200x600",
        },
        "one rollout follows another and the floor was removed between them": {
            policy("floor_pass_ratio", capability=""): "0.5x60 stale",
            rollout("info"): "1x50 _x20 1x600",
            rollout("start_timestamp_seconds"): "0x50 _x20 4200x600",
        },
    },
    fires={
        "the floor was removed": {policy("floor_pass_ratio", capability=""): "0.5x60 stale"},
        "the floor was added": {policy("floor_pass_ratio", capability=""): "_x61 0.5x600"},
        "the floor is a capability's": {
            policy("floor_pass_ratio", capability=""): "0.5",
            policy("floor_pass_ratio", capability="refunds"): "0.5x60 0.25x600",
        },
    },
    resolves={rollout("info"): "1"},
    resolved_at="480m",
)

FLOATING_MODEL_ALIAS = AlertSpec(
    alert="FloatingModelAlias",
    needs={_version("m-latest", role="candidate", floating="true"): "1"},
    after="15m",
    labels={"severity": "warning", "signature": "rollout-alias", "model_version": "m-latest", **SERVICE},
    annotations={
        "summary": "Traffic asks for a model alias that its provider may move at any time.",
        "description": "shop (production) asks for m-latest. Its provider can put another model behind this name at "
        "any time, without a rollout of yours.",
        "action": "Pin a dated version in the service that calls the model.",
    },
    dashboard=f"on-call{SERVICE_QUERY}",
    silent={
        "the version is pinned": {
            _version("m-latest", role="candidate", floating="true"): None,
            _version("m-1", role="candidate", floating="false"): "1",
        },
        "the alias is retired": {
            _version("m-latest", role="candidate", floating="true"): None,
            _version("m-latest", role="retired", floating="true"): "1",
        },
    },
    fires={
        "the role changes meanwhile": {
            _version("m-latest", role="candidate", floating="true"): "1x30 _x100",
            _version("m-latest", role="baseline", floating="true"): "_x31 1x100",
        },
    },
    resolves={_version("m-latest", role="candidate", floating="true"): "1x70 stale"},
    resolved_at="2h",
)

ON_CALL_RAMP = AlertSpec(
    alert="OnCallRamp",
    needs={
        rollout("start_timestamp_seconds"): "_ 0x100",
        policy("ramp_seconds"): "3600",
    },
    interval="1m",
    after="1m",
    labels={"severity": "info", "signature": "rollout-ramp", **ROLLOUT},
    annotations={
        "summary": "A rollout is recent, so its incidents may be new to you.",
        "description": "shop (production), m-1 to m 2: under way for 1m 0s of a ramp of 1h 0m 0s.",
        "action": "Nothing now. Before your shift, look at the cases that passed before and fail now.",
    },
    dashboard=f"on-call{ROLLOUT_QUERY}",
    silent={"the ramp is just over": {policy("ramp_seconds"): "60"}},
    resolves={rollout("start_timestamp_seconds"): "_ 0x100"},
    resolved_at="60m",
)

FRONTIER_PROBE_SOLVED = AlertSpec(
    alert="FrontierProbeSolved",
    needs={_SOLVED: "_ 0x2000"},
    interval="1m",
    after="1m",
    labels={"severity": "info", "signature": "frontier-probe", **_PROBED},
    annotations={
        "summary": "A model version passed a frontier probe that no version had passed before.",
        "description": "shop: m-2 passed a frontier probe of the class refunds 1m 0s ago, the first version to do so. "
        "`cliffwatch probes list` shows which probe.",
        "action": "Nothing tonight. Consider this version for requests of the class that people handle today.",
    },
    dashboard="frontier?var-service=shop&var-environment=probes",
    silent={"it was passed a day ago, and is only seen now": {_SOLVED: "_ -86340x2000"}},
    fires={"another probe of the class is passed later": {_SOLVED: "_ 0x1000 60000x1000"}},
    resolves={_SOLVED: "_ 0x2000"},
    resolved_at="1440m",
)

# Half of the traffic is hard. Of it, 14 in 56 fail in each seven hours for three weeks, then 42 in 56.
_EASY = "0+56x150"
_HARD_FAILURES = "0+14x72 1050+42x72"
_HARD_SUCCESSES = "0+42x72 3038+14x72"

HARD_TIER_GAP_WIDENING = AlertSpec(
    alert="HardTierGapWidening",
    needs={
        _outcomes("easy", "success"): _EASY,
        _outcomes("hard", "failure"): _HARD_FAILURES,
        _outcomes("hard", "success"): _HARD_SUCCESSES,
        policy("share_jump_ratio"): "0.25",
        policy("min_labelled_requests"): "1344",
    },
    interval="7h",
    after="679h",
    labels={"severity": "warning", "signature": "hard-tier-gap", "tier": "hard", **SERVICE},
    annotations={
        "summary": "For weeks, hard requests have failed more and more compared with the average.",
        "description": "shop (production): this week 75% of hard requests fail and 37.5% of all; "
        "three weeks ago it was 25% and 12.5%.",
        "action": "No recent rollout explains it: look for a change in prompts, tools, limits or traffic.",
    },
    dashboard=f"hard-tier{SERVICE_QUERY}",
    silent={
        "the gap widened by just less than the policy's jump": {policy("share_jump_ratio"): "0.2501"},
        "a week has too few labelled hard requests": {policy("min_labelled_requests"): "1345"},
        "chance explains it": {
            policy("min_labelled_requests"): "1",
            _outcomes("easy", "success"): "0+0.875x150",
            _outcomes("hard", "failure"): "0+0.21875x72 16.40625+0.65625x72",
            _outcomes("hard", "success"): "0+0.65625x72 47.46875+0.21875x72",
        },
        "both fail more often": {
            _outcomes("easy", "failure"): "0+0x72 56+56x72",
            _outcomes("easy", "success"): "0+56x72 4032x72",
        },
    },
    fires={
        "nothing had failed three weeks ago": {
            _outcomes("hard", "failure"): "_x72 42+42x72",
            _outcomes("hard", "success"): "0+56x72 4046+14x72",
        },
    },
    resolves={
        _outcomes("hard", "failure"): "0+14x72 1050+42x24 2072+14x60",
        _outcomes("hard", "success"): "0+42x72 3038+14x24 3416+42x60",
    },
    resolved_at="875h",
)

ALERTS = (FLOOR_CHANGED, FLOATING_MODEL_ALIAS, FRONTIER_PROBE_SOLVED, ON_CALL_RAMP, HARD_TIER_GAP_WIDENING)
