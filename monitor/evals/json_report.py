"""The report as JSON; `schema` names the version of its form, and a golden file in the tests holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from msgspec import json, to_builtins

from monitor.difficulty.tiers import HARD_TIER
from monitor.evals.cases import CaseKey, Pair, Run
from monitor.evals.comparison import Stratum
from monitor.evals.gate import GateResult
from monitor.evals.report import ArmSource, EvalReport

SCHEMA = "cliffwatch.eval-report/v1"


def json_report(report: EvalReport, gate: GateResult | None = None) -> Iterator[str]:
    """
    *report* in its stable form, and what the gate says of it, if there is one; rates are pass rates, 0 to 1.

    In pieces, since a large suite has many cases.
    """
    comparison, pairing, share = report.comparison, report.pairing, report.comparison.share
    document = {
        "schema": SCHEMA,
        "baseline": _arm(report.baseline, pairing.baseline),
        "candidate": _arm(report.candidate, pairing.candidate),
        "tiers_by": report.tiers_by,
        "tiers_from": _fields(report.tiering, "source", "explanation", "notes"),
        **_fields(report, "verdict", "scope", "headline"),
        "reasons": list(report.reasons),
        "could_still_be": report.could_still_be,
        "cases_needed": report.cases_needed,
        "obstacles": list(report.obstacles),
        "confidence": comparison.confidence,
        "aggregate": _stratum(comparison.aggregate),
        "tiers": {tier: _stratum(stratum) for tier, stratum in comparison.tiers.items()},
        "hard_tier": _stratum(comparison.hard_tier),
        "easier_tiers": _stratum(comparison.easier_tiers),
        "capabilities": {name: _stratum(stratum) for name, stratum in comparison.capabilities.items()},
        "share": share
        and {**to_builtins(share), "baseline": share.baseline.estimate, "candidate": share.candidate.estimate},
        "lost": map(_case, report.lost),
        "won": map(_case, report.won),
        "flaky": map(_case, report.flaky),
        "regressed_hard_cases": (_case(case) for case in report.lost if case.tier in HARD_TIER),
        "unknown": map(_key, pairing.unknown_after),
        "unpaired": {name: list(map(_key, keys)) for name, keys in asdict(pairing.unpaired).items()},
        "blind_spots": report.audit.blind_spots,
        "sight": report.audit.sight,
        "gate": None if gate is None else {"open": gate.is_open, "rules": gate.rules},
    }
    for number, (name, value) in enumerate(document.items()):
        yield f'{"," if number else "{"}\n  "{name}": '
        yield from _listed(value) if isinstance(value, Iterator) else (_indented(value, 2),)
    yield "\n}\n"


def _listed(values: Iterator[Any]) -> Iterator[str]:
    start = "["
    for value in values:
        yield f"{start}\n    {_indented(value, 4)}"
        start = ","
    yield "[]" if start == "[" else "\n  ]"


def _indented(value: Any, width: int) -> str:
    return json.format(json.encode(value), indent=2).decode().replace("\n", f"\n{' ' * width}")


def _arm(source: ArmSource, run: Run) -> dict[str, Any]:
    return {
        "label": source.label,
        "model": run.model or None,
        **_fields(source, "files", "formats"),
        "cases": len(run.cases),
        "attempts": run.attempts,
        "notes": source.notes,
    }


def _stratum(stratum: Stratum | None) -> dict[str, Any] | None:
    if stratum is None:
        return None
    return {
        **_fields(stratum, "cases", "hard_cases"),
        "passed": {"baseline": stratum.passed_before, "candidate": stratum.passed_after},
        "failures": {"baseline": stratum.failures_before, "candidate": stratum.failures_after},
        "pass_rate": {"baseline": stratum.before, "candidate": stratum.after},
        **_fields(stratum, "newly_failing", "newly_passing", "change", "p_value", "flaky"),
        "all_tries": {
            "tries": stratum.tries,
            "baseline": stratum.all_tries_before,
            "candidate": stratum.all_tries_after,
        },
    }


def _case(pair: Pair) -> dict[str, Any]:
    said = {**_key(pair.key), **_fields(pair, "tier", "capability", "before", "after")}
    return said | {"failure": pair.candidate.failure, "flaky": pair.is_flaky}


def _key(key: CaseKey) -> dict[str, str]:
    return {"task": key.task, "case": key.case_id}


def _fields(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}
