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


@dataclass(frozen=True, slots=True)
class Options:
    """
    How results are read, where the file leaves a choice.

    Attributes:
        columns: Column by role (`case`, `passed`, ...) of a table; roles left out are guessed.
        metric: Name of the score that counts, or None for the file's first.
        filter_name: Name of the lm-evaluation-harness filter that counts, or None for the file's first.
        pass_at: Lowest score that is a pass.
        capability_key: Metadata that holds the capability class, or None to guess.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    metric: str | None = None
    filter_name: str | None = None
    pass_at: float = 1.0
    capability_key: str | None = None


@dataclass(frozen=True, slots=True)
class ResultFile:
    """
    What one file said.

    Attributes:
        name: The file, as it was named.
        notes: What was chosen or guessed while reading, one sentence each.
    """

    name: str
    format: Format
    attempts: Sequence[Attempt]
    notes: Sequence[str] = ()


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
