"""What `/metrics` shows, in the words of the model of truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.faults.events import Truth

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]

_FAMILIES = {
    "requests_total": ("requests", "model_version", "capability"),
    "outcomes_total": ("outcomes", "model_version", "capability", "outcome"),
    "request_tokens_total": ("tokens", "model_version", "direction"),
    "request_cost_dollars_total": ("cost_microdollars", "model_version"),
    "tool_calls_total": ("tool_calls", "model_version"),
    "request_steps_sum": ("steps", "model_version"),
    "request_duration_seconds_sum": ("milliseconds", "model_version"),
    "budget_exceeded_total": ("budget_exceeded", "model_version"),
    "records_consumed_total": ("records", "topic"),
    "dead_letters_total": ("dead_letters", "reason"),
    "duplicate_records_total": ("duplicates",),
    "unknown_fields_total": ("unknown_fields",),
    "spans_total": ("spans", "state"),
}
_UNITS = {"request_cost_dollars_total": 1e6, "request_duration_seconds_sum": 1e3}
_REVISIONS = "outcome_revisions_total"


def counted(samples: Samples) -> Truth:
    """
    The families of `tests.faults.events`, out of a scrape.

    Which of two verdicts is counted first, and which as its revision, depends on the partitions; what stands in the end
    does not.
    """
    counts: Truth = Counter()
    for (full_name, pairs), value in samples.items():
        name, labels = full_name.removeprefix("cliffwatch_"), dict(pairs)
        if name in _FAMILIES:
            family, *by = _FAMILIES[name]
            counts[family, *(labels[label] for label in by)] += round(value * _UNITS.get(name, 1))
        elif name == _REVISIONS:
            version, capability = labels["model_version"], labels["capability"]
            counts["outcomes", version, capability, labels["from"]] -= round(value)
            counts["outcomes", version, capability, labels["to"]] += round(value)
    return Counter({key: value for key, value in counts.items() if value})


def by_family(truth: Truth) -> Mapping[str, int]:
    """Sum of each family, for a person to read."""
    sums: Counter[str] = Counter()
    for (family, *_), value in truth.items():
        sums[family] += value
    return dict(sorted(sums.items()))
