"""Made-up eval suites: how many cases each version passes in each tier, and what a report says about them."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.difficulty.tiers import Tier
from monitor.evals.cases import Attempt, CaseKey, Pair, pair_runs, runs_of
from monitor.evals.tiering import tiers_by_label

SEED_ARITHMETIC: Mapping[str, tuple[int, int, int]] = {
    "easy": (600, 588, 594),
    "medium": (300, 270, 288),
    "hard": (100, 40, 45),
}
"""Cases, and how many pass before and after: 98/90/40 % become 99/96/45 %."""


def seed_rows(arm: int, *, shuffled: int | None = None) -> list[dict[str, Any]]:
    """The seed arithmetic as rows of arm 0 or 1; the same cases pass in both, or others if *shuffled* by a seed."""
    rows = []
    for tier, (cases, *passed) in SEED_ARITHMETIC.items():
        order = list(range(cases))
        if shuffled is not None:
            random.Random(f"{shuffled}-{arm}-{tier}").shuffle(order)
        passing = set(order[: passed[arm]])
        rows += [
            {"id": f"{tier}-{number}", "correct": int(number in passing), "difficulty": tier} for number in range(cases)
        ]
    return rows


def reported(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """What `cliffwatch report` says as JSON; it has to succeed."""
    code = run_command(["report", *map(str, arguments), "--output", "json"])
    captured = capsys.readouterr()
    assert 0 == code, captured.err
    document = json.loads(captured.out)
    assert isinstance(document, dict)
    return document


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def an_attempt(case_id: str = "c1", *, passed: bool | None = True, tier: str | None = None, **more: Any) -> Attempt:
    metadata = {} if tier is None else {"tier": tier}
    return Attempt(CaseKey(more.pop("task", ""), case_id), passed=passed, metadata=metadata, **more)


def pairs_of(outcomes: Iterable[tuple[Tier, int, int, int]]) -> list[Pair]:
    """
    Pairs made of counts.

    Args:
        outcomes: Tier, whether a case passed before and after (0 or 1), and how many such cases.
    """
    before, after = [], []
    for group, (tier, passed_before, passed_after, cases) in enumerate(outcomes):
        for number in range(cases):
            case_id = f"{group}-{number}"
            before.append(an_attempt(case_id, passed=bool(passed_before), tier=tier.value))
            after.append(an_attempt(case_id, passed=bool(passed_after), tier=tier.value))
    pairing = pair_runs(runs_of(before)[""], runs_of(after)[""])
    tiering = tiers_by_label([pairing.baseline, pairing.candidate], None, {})
    assert tiering is not None
    return list(tiering.tiered(pairing.pairs))
