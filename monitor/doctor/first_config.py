"""What `cliffwatch init` writes and prints after a look at the topics of a broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.config.model import Config
from monitor.config.reference import Choice, chosen_config
from monitor.doctor.topic_sample import Sample

_HEAD = (
    "Written by `cliffwatch init`: what differs from the defaults, and why. `cliffwatch check-config` checks it; "
    "`python -m monitor.config.model` prints every other key. CLIFFWATCH_<SECTION>__<KEY> in the environment wins over "
    "it, and is the place for passwords."
)
_VERSIONS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Answers:
    """
    What was typed or found.

    Attributes:
        bootstrap_servers: HOST:PORT of brokers.
        topics: Topics to read.
        samples: What their records turned out to be; an empty topic has an empty one.
        ledger_url: Where the ledger is kept; empty where the environment or a file has to say it.
        kafka: Further keys of the section `kafka`, as typed.
    """

    bootstrap_servers: str
    topics: Sequence[str]
    samples: Sequence[Sample]
    ledger_url: str
    kafka: Mapping[str, str] = field(default_factory=dict)


def first_config(answers: Answers) -> str:
    """The commented file."""
    return chosen_config(Config, _choices(answers), head=_HEAD)


def _choices(answers: Answers) -> Iterator[Choice]:
    yield Choice(("kafka", "bootstrap_servers"), answers.bootstrap_servers)
    yield Choice(("kafka", "topics"), tuple(answers.topics), _found_words(answers.samples))
    for name, value in answers.kafka.items():
        yield Choice(("kafka", name), value)
    if _is_judged(answers.samples):
        yield Choice(
            ("traces", "outcomes", "status"),
            "ignored",
            "Evaluations were found, so only they count: a run without one is unlabelled, not a success.",
        )
    if answers.ledger_url:
        yield Choice(("ledger", "url"), answers.ledger_url)


def _found_words(samples: Sequence[Sample]) -> str:
    return " ".join(f"{each.topic}: {format_words(each)}." for each in samples if each.records)


def _is_judged(samples: Sequence[Sample]) -> bool:
    """Whether spans come with evaluations, so that their status can be ignored."""
    has_spans = any(each.traces and any("OTLP" in form for form in each.formats) for each in samples)
    return has_spans and any(each.outcomes for each in samples)


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
    return [f"{service} with {_some(sorted(names))}" for service, names in sorted(versions.items())]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_VERSIONS_SHOWN])
    return f"{shown} and {len(names) - _VERSIONS_SHOWN} more" if len(names) > _VERSIONS_SHOWN else shown


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
