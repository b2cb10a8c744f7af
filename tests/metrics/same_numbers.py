"""What the other surfaces must show, given the JSON of a rollout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels; those of the scrape and of the rollout are left out."""

_BOUNDS = {"lower": "lower", "rate": "estimate", "estimate": "estimate", "upper": "upper"}
_ARMS = ("baseline", "candidate")


def expected_samples(rollout: Mapping[str, Any]) -> Samples:
    """Every number of the verdict in *rollout*, as `/metrics` names it."""
    return {(f"cliffwatch_rollout_{name}", frozenset(labels.items())): value for name, labels, value in _all(rollout)}


def page_words(rollout: Mapping[str, Any]) -> set[str]:
    """Every number of the verdict in *rollout*, as its page words it."""
    share, tiers = rollout["share"], [*rollout["tiers"].values(), rollout["hard_tier"], rollout["aggregate"]]
    words = {
        f"{_percent(arm['rate'])} ({100 * arm['lower']:.1f} to {100 * arm['upper']:.1f}) "
        f"{arm['failures']:,} of {arm['requests']:,}"
        for tier in tiers
        for arm in (tier["baseline"], tier["candidate"])
        if arm["rate"] is not None
    }
    words |= {
        f"{_signed(tier['change']['estimate'])} ({_signed(tier['change']['lower'])} to "
        f"{_signed(tier['change']['upper'])})"
        for tier in tiers
        if tier["change"] is not None
    }
    for estimate, lower, upper in (("change", "lower", "upper"), ("excess", "excess_lower", "excess_upper")):
        words.add(f"{_signed(share[estimate])} points ({_signed(share[lower])} to {_signed(share[upper])})")
    words |= {_percent(share[arm]) for arm in _ARMS}
    words |= {f"{_signed(part)} points" for part in (share["expected_change"], *rollout["decomposition"].values())}
    loads = [*rollout["on_call"]["tiers"].values(), rollout["on_call"]["total"]]
    words |= {f"{load[arm]:.1f}" for load in loads for arm in _ARMS if any(load.values())}
    words |= {_percent(floor["pass_rate"]) for floor in rollout["floors"]}
    return words | set(rollout["reasons"]) | {rollout["verdict"]}


def alert_words(rollout: Mapping[str, Any]) -> list[str]:
    """The numbers of the verdict in *rollout* that `CapabilityCliff` tells, in its order and its words."""
    share = rollout["share"]
    ratios = [rollout[part][arm]["rate"] for part in ("aggregate", "hard_tier") for arm in _ARMS]
    ratios += [share[arm] for arm in _ARMS]
    points = (share["expected_change"], share["excess_lower"])
    return [f"{100 * ratio:.4g}%" for ratio in ratios] + [f"{100 * each:.1f} points" for each in points]


def _all(rollout: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    for verdict in ("ok", "cliff", "regression", "waiting"):
        yield "verdict", {"verdict": verdict}, float(verdict == rollout["verdict"])
    yield from _scopes(rollout)
    yield "tiers_info", {"tiers_by": rollout["tiers_by"], "comparison": rollout["comparison"]}, 1.0
    yield "requests_needed", {}, rollout["requests_needed"]
    for tier, rates in rollout["tiers"].items():
        yield from _rates("failure", rates, tier=tier)
    yield from _rates("hard_tier_failure", rollout["hard_tier"])
    yield from _rates("aggregate_failure", rollout["aggregate"])
    for arm in _ARMS:
        yield "labelled_requests", {"arm": arm}, rollout["aggregate"][arm]["requests"]
        hard = (rollout["tiers"][tier][arm]["failures"] for tier in ("hard", "frontier"))
        yield "hard_failures", {"arm": arm}, sum(hard)
    share = rollout["share"]
    for bound in ("lower", "change", "upper"):
        yield "hard_share_change", {"bound": bound.replace("change", "estimate")}, share[bound]
    for key, bound in (("excess_lower", "lower"), ("excess", "estimate"), ("excess_upper", "upper")):
        yield "hard_share_excess", {"bound": bound}, share[key]
    yield "expected_change", {}, share["expected_change"]
    for part, value in rollout["decomposition"].items():
        yield "hard_share_change_component", {"component": part}, value
    for tier, load in rollout["on_call"]["tiers"].items():
        for arm in _ARMS:
            yield "failures_per_1000_requests", {"arm": arm, "tier": tier}, load[arm]
    for floor in rollout["floors"]:
        yield "floor_pass_ratio", {"capability": floor["capability"] or ""}, floor["pass_rate"]


def _scopes(rollout: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    for scope in {"all", "easier", "hard", *rollout["scope"]}:
        yield "regression", {"scope": scope}, float(scope in rollout["scope"])


def _rates(prefix: str, rates: Mapping[str, Any], **labels: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for arm in _ARMS:
        for key in ("lower", "rate", "upper"):
            if rates[arm][key] is not None:
                yield f"{prefix}_ratio", {**labels, "arm": arm, "bound": _BOUNDS[key]}, rates[arm][key]
    if rates["change"] is not None:
        for key, value in rates["change"].items():
            yield f"{prefix}_change", {**labels, "bound": _BOUNDS[key]}, value


def _percent(ratio: float) -> str:
    """With one decimal, or two digits of what is left to 0 or 1 where that is below 1 %."""
    left = min(ratio, 1.0 - ratio)
    decimals = -int(f"{left:e}".partition("e")[2]) - 1 if 0.00001 <= left < 0.01 else 1
    return f"{100 * ratio:.{decimals}f} %"


def _signed(ratio: float) -> str:
    return f"{round(100 * ratio, 1) + 0.0:+.1f}"
