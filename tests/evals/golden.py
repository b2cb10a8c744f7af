"""
Golden JSON of `cliffwatch report`: `python -m tests.evals.golden` writes it anew; review the difference like code.

People parse it, so a key may come but none may go.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from monitor.cli import run_command
from tests.evals.suites import write_csv

GOLDEN = Path(__file__).parent.parent / "golden" / "eval-report.json"
_OUTCOMES = (  # tier, class, outcomes before and after in two epochs, cases
    ("easy", "search", "11", "11", 40),
    ("easy", "search", "00", "11", 12),
    ("easy", "refunds", "00", "00", 12),
    ("hard", "refunds", "11", "11", 32),
    ("hard", "refunds", "11", "10", 3),
    ("hard", "refunds", "11", "00", 4),
    ("hard", "search", "00", "00", 34),
    ("frontier", "search", "00", "11", 1),
    ("hard", "search", "11", "xx", 2),
)


def report_document(folder: Path) -> dict[str, Any]:
    """The report on a small suite that has some of everything, without the folder that it was written in."""
    cases = [
        (f"{tier}-{number}-{n}", tier, capability, arms)
        for number, (tier, capability, *arms, count) in enumerate(_OUTCOMES)
        for n in range(count)
    ]
    files = [
        write_csv(
            folder / f"{arm}.csv",
            [
                {"id": name, "difficulty": tier, "category": capability, "epoch": epoch, "passed": passed}
                | {"model": arm, "failure": "wrong" if passed == "0" else ""}
                for name, tier, capability, arms in cases
                for epoch, passed in enumerate(arms[index].replace("x", "?"))
            ],
        )
        for index, arm in enumerate(("model-1", "model-2"))
    ]
    floors = folder / "floors.yaml"
    floors.write_text("floors: [{tier: hard_tier, pass_rate: 0.4}]\nlimits: {drop: {all: 0.01}}\n", encoding="utf-8")
    out = folder / "report.json"
    run_command(["report", *map(str, files), "--gate", str(floors), "--output", "json", "--out", str(out)])
    document: dict[str, Any] = json.loads(out.read_text(encoding="utf-8").replace(f"{folder}/", ""))
    return document


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        GOLDEN.write_text(json.dumps(report_document(Path(temporary)), indent=1) + "\n", encoding="utf-8")
