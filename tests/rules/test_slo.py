from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from rules.slo import FILE, render, rules
from tests.rules.conftest import rule_groups
from tests.rules.spec import MERGED, PAGE, SERVICE, SERVICE_QUERY, AlertSpec, policy, series

FAST, SLOWLY = "TierErrorBudgetBurningFast", "TierErrorBudgetBurningSlowly"
OBJECTIVES = {
    policy("objective_pass_ratio", tier="easy"): "0.98",
    policy("objective_pass_ratio", tier="medium"): "0.85",
}


def outcomes(tier: str, successes: str, failures: str, **labels: str) -> dict[str, str]:
    """Labelled requests of a tier as counters: `0+4` rises by four a sample."""
    of = {"model_version": "m-1", "capability": "refunds", "tier": tier, **labels}
    return {
        series("cliffwatch_outcomes_total", SERVICE, **of, outcome=outcome): f"{values}x400"
        for outcome, values in (("success", successes), ("failure", failures))
    }


def _burning(alert: str, severity: str, action: str) -> AlertSpec:
    return AlertSpec(
        alert=alert,
        needs={**OBJECTIVES, **outcomes("easy", "0+50", "0+50")},
        after="6h",
        labels={"severity": severity, "signature": "tier-budget", "tier": "easy", **SERVICE},
        annotations={
            "summary": "A tier fails so often that its error budget will not last.",
            "description": "shop (production), tier easy: 50% of the labelled requests failed, where 98% should pass.",
            "action": f"{action} With a rollout under way, act on its verdict; without one, look for a change in "
            "tools, prompts or limits.",
            "runbook_url": "https://example.invalid/cliffwatch/docs/runbooks/../how-to/service-levels.md",
        },
        dashboard=f"hard-tier{SERVICE_QUERY}",
        resolves={},
        resolved_at="",
    )


SPECS = {
    FAST: _burning(FAST, "critical", "Look at the tier's failures now."),
    SLOWLY: _burning(SLOWLY, "warning", "Plan time for it."),
}


def test_the_file_is_what_the_generator_writes() -> None:
    """`make generate` was run."""
    assert render() == FILE.read_text(encoding="utf-8")


@pytest.mark.stack
@pytest.mark.parametrize(
    ("given", "firing"),
    [
        pytest.param(outcomes("easy", "0+50", "0+50"), {FAST, SLOWLY}, id="a fast burn: half of the easy tier fails"),
        pytest.param(outcomes("easy", "0+95", "0+5"), {SLOWLY}, id="a slow burn: five in a hundred where two may"),
        pytest.param(outcomes("easy", "0+99", "0+1"), set(), id="within the objective"),
        pytest.param(outcomes("easy", "0+0", "0+1"), {SLOWLY}, id="too little for a page: one request in five minutes"),
        pytest.param(outcomes("easy", "0+0", "0+1x20 20+0"), set(), id="too little for anything: twenty requests"),
        pytest.param(outcomes("easy", "0+50x100 5000+100", "0+50x100 5000+0"), set(), id="it has ended"),
        pytest.param(outcomes("medium", "0+20", "0+80"), {FAST, SLOWLY}, id="a wide budget that is far exceeded"),
        pytest.param(outcomes("medium", "0+50", "0+50"), {SLOWLY}, id="a wide budget that is exceeded threefold"),
        pytest.param(outcomes("medium", "0+90", "0+10"), set(), id="a wide budget that lasts"),
        pytest.param(outcomes("hard", "0+1", "0+99"), set(), id="a tier that nobody agreed on"),
        pytest.param(outcomes("untiered", "0+1", "0+99"), set(), id="requests without a tier"),
        pytest.param(
            {
                **outcomes("hard", "0+5", "0+30"),
                **outcomes("frontier", "0+0", "0+65"),
                policy("objective_pass_ratio", tier="hard"): "0.5",
            },
            {FAST, SLOWLY},
            id="hard and frontier are one tier",
        ),
        pytest.param(
            {**outcomes("easy", "0+48", "0+1"), **outcomes("easy", "0+48", "0+1", model_version="m-2", capability="x")},
            {SLOWLY},
            id="versions and classes are added up",
        ),
        pytest.param(
            {**outcomes("easy", "0+97", "0+3"), **outcomes("easy", "0+97", "0+3", instance="b:9464", pod="b-1")},
            {SLOWLY},
            id="two replicas count once",
        ),
    ],
)
def test_burning_budgets_fire(given: Mapping[str, str], firing: set[str], promtool: Callable[..., None]) -> None:
    """Each alert once, for the tier that burns; neither from too few requests."""
    expected = {name: int(name in firing) for name in (FAST, SLOWLY)}
    promtool(
        {**OBJECTIVES, **given},
        interval="5m",
        until="30h",
        groups=_groups(),
        queries=[
            {
                "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
                "eval_time": "30h",
                "exp_samples": [{"labels": "{}", "value": number}],
            }
            for name, number in expected.items()
        ],
    )


@pytest.mark.stack
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_its_words_have_the_rate_and_the_objective(spec: AlertSpec, promtool: Callable[..., None]) -> None:
    """And its labels name the tier, so that it can be routed."""
    expected = {
        "exp_labels": {**spec.labels, **MERGED},
        "exp_annotations": {
            **spec.annotations,
            "page_url": PAGE,
            "dashboard_url": f"http://localhost:3000/d/cliffwatch-{spec.dashboard}",
        },
    }
    promtool(
        spec.needs,
        interval="5m",
        until=spec.after,
        groups=_groups(),
        alerts=[{"eval_time": spec.after, "alertname": spec.alert, "exp_alerts": [expected]}],
    )


def _groups() -> list[Mapping[str, object]]:
    """The rules of the objectives, after the one recording that they read."""
    versions = next(group for group in rule_groups() if group["name"] == "cliffwatch-versions")
    read = [rule for rule in versions["rules"] if rule["record"] == "version_tier_capability:cliffwatch_outcomes:max"]
    return [{**versions, "rules": read}, *rules()["groups"]]
