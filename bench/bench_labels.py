"""
The table of docs/labels.md: what missing, late, one-sided and mistaken labels do to verdicts.

Run: python -m bench.bench_labels [--runs 100] [--only WORDS]
"""

from __future__ import annotations

import argparse

from bench.label_lines import lines
from bench.verdict_lines import LOOKS
from bench.verdict_table import results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    print(f"{arguments.runs} runs of {LOOKS} looks to a line; run n of line m has the seed (m, n).")
    missed = 0
    for result in results(arguments.runs, only=arguments.only, of=lines):
        print(result, flush=True)
        missed += not result.is_met
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
