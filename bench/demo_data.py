"""
Builds monitor/demo/bfcl.csv.gz, the facts that the demo replays, from the outcome tables of the shared data folder.

Run: python bench/demo_data.py ../shared/data/bfcl
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path

from monitor.demo.events import FACTS, HISTORY, ROLLOUTS

_COLUMNS = (
    "model_version",
    "request_id",
    "success",
    "failure_class",
    "latency_ms",
    "input_tokens",
    "output_tokens",
)


def main(folder: Path) -> None:
    versions = {*HISTORY, *(version for rollout in ROLLOUTS for version in (rollout.baseline, rollout.candidate))}
    with gzip.open(folder / "outcomes.csv.gz", "rt", newline="") as source:
        rows = [row for row in csv.DictReader(source) if row["model_version"] in versions]
    missing = versions - {row["model_version"] for row in rows}
    if missing:
        sys.exit(f"No outcomes of {', '.join(sorted(missing))} in {folder}.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in sorted(rows, key=lambda row: (row["model_version"], row["request_id"])):
        row["latency_ms"] = str(round(1000 * float(row["latency_s"]))) if row["latency_s"] else ""
        writer.writerow([row[column] for column in _COLUMNS])
    # No time stamp inside, so that the same facts give the same bytes.
    FACTS.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    sys.stdout.write(f"{FACTS}: {len(rows)} outcomes of {len(versions)} versions, {FACTS.stat().st_size} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
