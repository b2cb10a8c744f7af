"""What `cliffwatch init` writes and prints after a look at the topics of a broker."""

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
    The commented file.

    Args:
        bootstrap_servers: HOST:PORT of brokers.
        samples: What the records of each topic to read turned out to be; an empty topic has an empty one.
        ledger_url: Where the ledger is kept; empty where the environment or a file has to say it.
        kafka: Further keys of the section `kafka`, as typed.
    """
    found = " ".join(f"{each.topic}: {format_words(each)}." for each in samples if each.records)
    choices: dict[KeyPath, tuple[Any, str]] = {("kafka", name): (value, "") for name, value in kafka.items()}
    choices["kafka", "bootstrap_servers"] = bootstrap_servers, ""
    choices["kafka", "topics"] = tuple(each.topic for each in samples), found
    has_spans = any(each.traces and any("OTLP" in form for form in each.formats) for each in samples)
    if has_spans and any(each.outcomes for each in samples):
        why = "Evaluations were found, so only they count: a run without one is unlabelled, not a success."
        choices["traces", "outcomes", "status"] = "ignored", why
    if ledger_url:
        choices["ledger", "url"] = ledger_url, ""
    return chosen_config(Config, choices, head=_HEAD)


def format_words(sample: Sample) -> str:
    """The formats of *sample*, and whose attribute names it uses."""
    words = " and ".join(sample.formats) or "empty"
    return f"{words} ({', '.join(sample.conventions)})" if sample.conventions else words


def services_words(samples: Sequence[Sample]) -> Sequence[str]:
    """Each service with the model versions that were seen of it."""
    versions: dict[str, set[str]] = {}
    for each in samples:
        for service, names in each.versions.items():
            versions.setdefault(service, set()).update(names)
    return [f"{service} with {some_of(sorted(names), _VERSIONS_SHOWN)}" for service, names in sorted(versions.items())]


def warnings(samples: Sequence[Sample]) -> Iterator[str]:
    """What will be missing when the service starts, each in a sentence that says what to do."""
    for each in samples:
        if not each.records:
            yield f"{each.topic} is empty: send something, and `cliffwatch doctor` will say what it is."
        elif not each.is_ours:
            yield unreadable_words(each)
    read = [each for each in samples if each.is_ours]
    unmapped = sum(each.unmapped for each in read)
    if unmapped:
        yield (
            f"{unmapped} evaluations say nothing about success: give traces.outcomes.evaluations a rule for their "
            "scores (docs/traces.md)."
        )
    elif any(each.traces for each in read) and not any(each.outcomes for each in read):
        yield (
            "No labels were seen: until evaluations or outcomes come, a run without an error counts as a success, and "
            "verdicts say little (docs/traces.md)."
        )


def unreadable_words(sample: Sample) -> str:
    """One sentence about a topic that holds what Cliffwatch does not read."""
    what = sample.looks_like or "nothing about an agent or its outcomes"
    return (
        f"{sample.topic} holds nothing that Cliffwatch reads ({sample.unreadable or sample.records} of "
        f"{sample.records} records: {what}); name another topic, or write one of the formats of docs/traces.md."
    )
