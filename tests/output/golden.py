"""
Golden JSON of everything that commands and the HTTP interface print.

`python -m tests.output.golden` writes it anew; review the difference like code: people parse it, so a key may come but
none may go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.probes import ProbeCandidate
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier, TierCuts
from monitor.difficulty.trust import ReliabilityPoint
from monitor.ledger.ledger import CalibrationRecord, ProbeResult
from monitor.output.calibrations import CalibrationComparison, KeptCalibration, Tally, TierTable
from monitor.output.cases import TraceLinks, cases_json, probe_set
from monitor.output.plain import plain
from monitor.output.rollouts import replay_json, rollout_json
from monitor.probes.panel import PanelRequest, chosen_panel, probe_histories
from monitor.rollout.cases import Case, CaseKind, Cases
from monitor.rollout.cohort import Runs
from monitor.rollout.oncall import Signature
from monitor.trace.model import Request, Tool
from tests.metrics.snapshots import NOON, a_record, a_rollout, a_snapshot, a_trust, a_verdict

FOLDER = Path(__file__).parent.parent / "golden" / "json"


def a_calibration(**changes: Any) -> Any:
    """Its estimates are left out: nothing that is printed of a calibration needs them."""
    values: dict[str, Any] = {
        "calibration_id": "cal-1",
        "frozen_at": NOON,
        "cuts": TierCuts(-3.5, -1.75, 0.5),
        "trust": a_trust(
            reasons=("More.",),
            hard_rate_reasons=("2 more versions.",),
            reliability=(ReliabilityPoint(0.125, 0.25, 64), ReliabilityPoint(0.5, 0.375, 32)),
        ),
        "reference_version": "model-0",
        "bin_edges": (),
        "difficulty": None,
        "min_tag_probability": 0.5,
        "frontier_min_versions": 3,
    }
    return Calibration(**(values | changes))


PROMOTED = CalibrationRecord("cal-1", NOON, NOON + 60, 900)
KEPT = CalibrationRecord("cal-2", NOON, None, 1_200)
TABLE = TierTable(
    {"model-0": {Tier.EASY: Tally(80, 1), Tier.HARD: Tally(20, 12)}, "model-1": {Tier.UNTIERED: Tally(5, 0)}},
    {"refund": Tally(60, 12), "search": Tally(45, 1), "unused": Tally()},
)
CASES = Cases(
    7,
    [
        Case(
            "refund-17",
            CaseKind.REQUEST,
            Signature(Tier.HARD, "refund", "wrong_tool"),
            "t/1",
            NOON,
            Runs(4, 3),
            Runs(9, 1),
            "t2",
            "model-1",
        ),
        Case(
            "3f2a", CaseKind.FAMILY, Signature(Tier.FRONTIER, "search"), "t3", NOON, Runs(2, 2), Runs(3, 0), "t4", "m"
        ),
    ],
)
LINKS = TraceLinks("https://traces.example/{service}/{trace_id}?m={model_version}")
REQUESTS = [
    PanelRequest(
        ProbeCandidate(RequestFeatures("refund", item="refund-17"), 3),
        Request(
            "refund",
            "refund-17",
            text="Give it back.",
            messages=2,
            tools=(Tool("pay", "Pays.", '{"type":"object"}'), Tool("look")),
            attributes={"scope": 2.0, "area": "shop"},
        ),
    ),
    PanelRequest(ProbeCandidate(RequestFeatures("search", item="s"))),
    PanelRequest(ProbeCandidate(RequestFeatures("unused", item="u"))),
]
RESULTS = [
    ProbeResult("p1", "search", "model-0", NOON, 3, 2, 1),
    ProbeResult("p1", "search", "model-1", NOON + 60, 1, 0, 0),
    ProbeResult("p2", "refund", "model-1", NOON, 1, 1, 1),
]


def _panel() -> Any:
    return chosen_panel(
        REQUESTS,
        [0, 1],
        calibration=None,
        skipped={"not_json": 2},
        settings=DifficultySettings(),
    )


PRINTED: Mapping[str, Callable[[], Any]] = {
    "rollout": lambda: rollout_json(a_record(a_verdict())),
    "rollout-ended": lambda: rollout_json(a_record(a_verdict(), ended_at=NOON + 60, end_reason="rolled_back")),
    "rollout-not-reviewed": lambda: rollout_json(a_record()),
    "replay": lambda: replay_json(a_snapshot()),
    "replay-without-calibration": lambda: replay_json(a_snapshot(calibration=None, rollouts=())),
    "cases": lambda: cases_json(a_record(a_verdict()), CASES, LINKS),
    "cases-without-links": lambda: cases_json(a_record(), CASES, TraceLinks()),
    "cases-exported": lambda: list(probe_set(a_rollout(), CASES, LINKS)),
    "calibration": lambda: KeptCalibration(a_calibration(), PROMOTED, in_force=True),
    "tier-table": lambda: TABLE,
    "calibrations-compared": lambda: CalibrationComparison(
        KeptCalibration(a_calibration(), PROMOTED, in_force=True),
        KeptCalibration(a_calibration(calibration_id="cal-2"), KEPT, in_force=False),
        {(Tier.EASY, Tier.EASY): 9, (Tier.HARD, Tier.MEDIUM): 3},
    ),
    "panel": _panel,
    "probes": lambda: probe_histories(RESULTS),
}
"""What is printed, by the name of its golden file."""


if __name__ == "__main__":
    for name, printed in PRINTED.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(plain(printed()), indent=2, ensure_ascii=False) + "\n")
