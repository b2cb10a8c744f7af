"""
The reference of metrics: a table of every one.

`python -m docs.handbook.metric_reference` prints docs/metrics.md.
"""

from __future__ import annotations

import sys

from docs.handbook.tables import code, table
from monitor.metrics.names import METRICS

_HEAD = """<!-- Generated from monitor/metrics/metrics.toml by `make generate`; do not edit. -->
# Metrics

`/metrics` shows the last committed state of the ledger: counters never reset, every replica shows the same, and an unknown value is a missing series, never NaN.

"""


def page() -> str:
    """The page, in Markdown."""
    rows = [
        (code(metric.name), metric.kind, ", ".join(map(code, metric.labels)), metric.help)
        for metric in sorted(METRICS, key=lambda metric: metric.name)
    ]
    return _HEAD + table(("metric", "type", "labels", "meaning"), rows)


if __name__ == "__main__":
    sys.stdout.write(page())
