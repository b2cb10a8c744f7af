"""
The table of docs/labels.md: what missing, late, one-sided and mistaken labels do to verdicts.

Run: python -m bench.bench_labels [--runs 100] [--only WORDS]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence

import numpy as np

from bench.label_lines import WITHOUT_ERROR, lines
from bench.verdict_lines import LOOKS
from bench.verdict_table import Result, results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    print(
        f"{arguments.runs} runs of {LOOKS} looks to a line; run n of line m has the seed (m, n), all cliffs the same m."
    )
    done = []
    for result in results(arguments.runs, only=arguments.only, of=lines):
        print(result, flush=True)
        done.append(result)
    print(*costs(done), sep="\n")
    return 0 if all(result.is_met for result in done) else 1


def costs(done: Sequence[Result]) -> Iterator[str]:
    """Requests that each judge needs, relative to labels without error on the same draws."""
    plain = next((result for result in done if result.line.name == WITHOUT_ERROR), None)
    for result in done:
        if plain is not None and result.line.draws == WITHOUT_ERROR and result is not plain:
            pairs = zip(result.runs, plain.runs, strict=True)
            times = [(slow.found or math.inf) / fast.found for slow, fast in pairs if fast.found]
            median, slow_ones = (np.quantile(times, part, method="higher") for part in (0.5, 0.9))
            within = f"{slow_ones:.1f} times" if np.isfinite(slow_ones) else "20,000 requests: not all of them"
            yield f"{result.line.name}: {median:.1f} times the requests (median; 90 % of runs within {within})"


if __name__ == "__main__":
    raise SystemExit(main())
