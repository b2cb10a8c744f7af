"""What every reader is told and what it hands back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from monitor.errors import UsageError
from monitor.evals.cases import Attempt, MetadataValue

_LONGEST_FAILURE = 2_000
_LONGEST_INPUT = 20_000
_LONGEST_VALUE = 128
_CAPABILITY_KEYS = ("capability", "capability_class", "category", "subject")


class Format(StrEnum):
    """What a result file is."""

    INSPECT = "Inspect AI log"
    LM_EVAL = "lm-evaluation-harness samples"
    PROMPTFOO = "promptfoo results"
    EVENTS = "native or OpenTelemetry events"
    TABLE = "table with named columns"


class ResultFileInvalid(UsageError):
    """A file holds no eval results that can be read: name another one, or say how to read it."""


class ChoiceMissing(UsageError):
    """What was asked for by an option is not in a file of results: name something else."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    How results are read, where the file leaves a choice.

    Attributes:
        columns: Column by role (`case`, `passed`, ...) of a table; roles left out are guessed.
        metrics: Names of the score that counts, the first that a file has; empty for the file's own first.
        filters: Names of the lm-evaluation-harness filter that counts, in the same way.
        pass_at: Lowest score that is a pass.
        capability_key: Metadata that holds the capability class, or None to guess.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    filters: Sequence[str] = ()
    pass_at: float = 1.0
    capability_key: str | None = None


@dataclass(frozen=True, slots=True)
class ResultFile:
    """
    What one file said.

    Attributes:
        name: The file, as it was named.
        notes: What was chosen or guessed while reading, one sentence each.
        series: What the file is a run of, where a later file of the same series replaces it; None where none does.
        written: When, in a form that sorts.
    """

    name: str
    format: Format
    attempts: Sequence[Attempt]
    notes: Sequence[str] = ()
    series: str | None = None
    written: str = ""


def chosen(name: str, kind: str, asked: Sequence[str], known: Sequence[str], option: str) -> str:
    """
    The first of *known* that is asked for; the first of all where nothing is.

    Raises:
        ChoiceMissing: none of those asked for is known.
        ResultFileInvalid: nothing is known.
    """
    if not known:
        raise ResultFileInvalid(f"{name} has no {kind} that scores each case.")
    for each in asked or known:
        if each in known:
            return each
    raise ChoiceMissing(f"{name} has no {kind} {' or '.join(asked)} ({option}); it has {', '.join(known)}.")


def passes(score: float, options: Options) -> bool | None:
    """Whether *score* is a pass; None where it is no number."""
    return None if math.isnan(score) else score >= options.pass_at


def graded_note(scores: Iterable[float], options: Options) -> Sequence[str]:
    """A sentence where scores lie between fail and pass, since the line between them is then a choice."""
    between = sum(0.0 < score < 1.0 for score in scores)
    if not between:
        return ()
    return (f"{between:,} scores lie between 0 and 1; those of at least {options.pass_at:g} pass (--pass-at).",)


def shortened(text: str | None, limit: int = _LONGEST_FAILURE) -> str | None:
    """*text* within *limit* characters, or None where it says nothing."""
    text = (text or "").strip()
    return (text if len(text) <= limit else f"{text[: limit - 1]}…") or None


def failure_of(answer: JsonValue, expected: JsonValue) -> str | None:
    """What went wrong, where only the answer and the one that was wanted are known."""
    if not isinstance(answer, str) or not answer.strip():
        return None
    wanted = shortened(expected if isinstance(expected, str) else None, _LONGEST_VALUE)
    return shortened(f"answered {answer.strip()}" + ("" if wanted is None else f" (expected {wanted})"))


def input_of(value: JsonValue) -> tuple[str | None, str | None]:
    """What was asked as text, and its digest; both None where *value* is empty."""
    if value in (None, "", [], {}):
        return None, None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return text[:_LONGEST_INPUT], digest


def scalars(values: Mapping[str, JsonValue] | None) -> dict[str, MetadataValue]:
    """The numbers and short texts among *values*; what is nested is left out."""
    found: dict[str, MetadataValue] = {}
    for name, value in (values or {}).items():
        if isinstance(value, bool) or (isinstance(value, str) and len(value) <= _LONGEST_VALUE):
            found[name] = str(value)
        elif isinstance(value, int | float) and math.isfinite(value):
            found[name] = value
    return found


def capability_in(metadata: Mapping[str, MetadataValue], options: Options, otherwise: str = "") -> str:
    """The capability class that *metadata* names, or *otherwise*."""
    keys = _CAPABILITY_KEYS if options.capability_key is None else (options.capability_key,)
    return next((str(metadata[key]) for key in keys if key in metadata), otherwise)
