"""The config file and the messages of `cliffwatch init`, from samples of the broker's topics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from monitor.config.model import Config
from monitor.config.reference import KeyPath, chosen_config
from monitor.doctor.topic_sample import Sample
from monitor.rollout.wording import some_of

_HEAD = (
    "Written by `cliffwatch init`: settings that differ from the defaults, and why. `cliffwatch check-config` checks "
    "it; `python -m monitor.config.model` prints every key. CLIFFWATCH_<SECTION>__<KEY> in the environment overrides "
    "it; put passwords there."
)
_VERSIONS_SHOWN = 4


def first_config(bootstrap_servers: str, samples: Sequence[Sample], ledger_url: str, kafka: Mapping[str, str]) -> str:
    """
    The commented config file.

    Args:
        bootstrap_servers: HOST:PORT of brokers.
        samples: Sample of each topic to read; an empty one for an empty topic.
        ledger_url: URL of the ledger; empty if the environment sets it.
        kafka: Further keys of the section `kafka`, as typed.
    """
    contents = " ".join(f"{sample.topic}: {format_words(sample)}." for sample in samples if sample.records)
    choices: dict[KeyPath, tuple[Any, str]] = {("kafka", name): (value, "") for name, value in kafka.items()}
    choices["kafka", "bootstrap_servers"] = bootstrap_servers, ""
    choices["kafka", "topics"] = tuple(sample.topic for sample in samples), contents
    has_spans = any(sample.traces and any("OTLP" in form for form in sample.formats) for sample in samples)
    if has_spans and any(sample.outcomes for sample in samples):
        comment = "Evaluations were found, so only they count: a run without one is unlabelled, not a success."
        choices["traces", "outcomes", "status"] = "ignored", comment
    if ledger_url:
        choices["ledger", "url"] = ledger_url, ""
    return chosen_config(Config, choices, head=_HEAD)


def format_words(sample: Sample) -> str:
    """The formats of *sample*, and the conventions of its attribute names."""
    words = " and ".join(sample.formats) or "empty"
    return f"{words} ({', '.join(sample.conventions)})" if sample.conventions else words


def services_words(samples: Sequence[Sample]) -> Sequence[str]:
    """Each service with its model versions."""
    versions: dict[str, set[str]] = {}
    for sample in samples:
        for service, names in sample.versions.items():
            versions.setdefault(service, set()).update(names)
    return [f"{service} with {some_of(sorted(names), _VERSIONS_SHOWN)}" for service, names in sorted(versions.items())]


def warnings(samples: Sequence[Sample]) -> Iterator[str]:
    """What will be missing when the service starts, each with what to do."""
    for sample in samples:
        if not sample.records:
            yield f"{sample.topic} is empty: send something, and `cliffwatch doctor` will say what it is."
        elif not sample.is_readable:
            yield unreadable_words(sample)
    readable = [sample for sample in samples if sample.is_readable]
    unmapped = sum(sample.unmapped for sample in readable)
    if unmapped:
        yield (
            f"{unmapped} evaluations say nothing about success: give traces.outcomes.evaluations a rule for their "
            "scores (docs/traces.md)."
        )
    elif any(sample.traces for sample in readable) and not any(sample.outcomes for sample in readable):
        yield (
            "No labels were seen: until evaluations or outcomes come, a run without an error counts as a success, and "
            "verdicts say little (docs/traces.md)."
        )


def unreadable_words(sample: Sample) -> str:
    """One sentence about a topic that Cliffwatch cannot read."""
    contents = sample.looks_like or "nothing about an agent or its outcomes"
    return (
        f"{sample.topic} holds nothing that Cliffwatch reads ({sample.unreadable or sample.records} of "
        f"{sample.records} records: {contents}); name another topic, or write one of the formats of docs/traces.md."
    )
