"""What every reader is told and what it hands back."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files

from pydantic import JsonValue

from monitor.errors import UsageError
from monitor.evals.cases import Attempt, MetadataValue

WORDS = tomllib.loads(files("monitor.evals.formats").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
"""The words of `vocabulary.toml`."""

_LONGEST_FAILURE = 2_000
_LONGEST_INPUT = 20_000
_LONGEST_VALUE = 128
LABEL_KEYS = ("tier", "difficulty", "level", "difficulty_level", "hardness")
"""Metadata that is taken for a tier label if you name none."""

_CAPABILITY_KEYS = ("capability", "capability_class", "category", "subject")


class Format(StrEnum):
    """What a result file is."""

    INSPECT = "Inspect AI log"
    LM_EVAL = "lm-evaluation-harness samples"
    PROMPTFOO = "promptfoo results"
    EVENTS = "native or OpenTelemetry events"
    SWE_BENCH = "SWE-bench report"
    BFCL = "BFCL scores"
    JUNIT = "JUnit XML"
    TABLE = "table with named columns"


class ResultFileInvalid(UsageError):
    """A file holds no eval results that can be read: name another one, or say how to read it."""


class ChoiceMissing(UsageError):
    """How a file of results is read needs an option, or another one: the sentence says which."""


class ChoiceAbsent(ChoiceMissing):
    """What was asked for by an option is not in a file of results: name something else."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    How results are read, where the file leaves a choice.

    Attributes:
        columns: Column by role (`case`, `passed`, ...) of a table; roles left out are guessed.
        metrics: Names of the score that counts, the first that a file has; empty for the file's own first.
        filters: Names of the lm-evaluation-harness filter that counts, in the same way.
        pass_at: Lowest score that is a pass; None for 1, where scores run from 0 to 1.
        capability_key: Metadata that holds the capability class, or None to guess.
        tier_column: Metadata that holds the tier, or None to guess.
        case_ids: Cases that a file beside the one that is read names (BFCL).
        keep_text: Whether questions are kept as text: only difficulty and probes need them.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    filters: Sequence[str] = ()
    pass_at: float | None = None
    capability_key: str | None = None
    tier_column: str | None = None
    case_ids: Sequence[str] = ()
    keep_text: bool = True

    def wants(self, name: str) -> bool:
        """Whether the metadata *name* is one that tells tier or capability."""
        folded = name.casefold()
        chosen = {(key or "").casefold() for key in (self.capability_key, self.tier_column)}
        return folded in chosen or folded.rpartition(".")[2] in (*LABEL_KEYS, *_CAPABILITY_KEYS, *chosen)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """
    What one file said.

    Attributes:
        name: The file, as it was named.
        notes: What was chosen or guessed while reading, one sentence each.
        series: What the file is a run of, where a later file of the same series replaces it; None where none does.
        written: When, in a form that sorts.
        case_columns: Columns that may name the case, likeliest first; empty where the format leaves no choice.
    """

    name: str
    format: Format
    attempts: Sequence[Attempt]
    notes: Sequence[str] = ()
    series: str | None = None
    written: str = ""
    case_columns: Sequence[str] = ()


def chosen(name: str, kind: str, asked: Sequence[str], known: Sequence[str], option: str) -> tuple[str, Sequence[str]]:
    """
    The first of *known* that is asked for, the first of all where nothing is; and a sentence where there was a choice.

    Raises:
        ChoiceAbsent: none of those asked for is known.
        ResultFileInvalid: nothing is known.
    """
    if not known:
        raise ResultFileInvalid(f"{name} has no {kind} that scores each case.")
    found = next((each for each in asked or known if each in known), None)
    if found is None:
        raise ChoiceAbsent(f"{name} has no {kind} {' or '.join(asked)} ({option}); it has {', '.join(known)}.")
    return found, [f"Of the {kind}s {', '.join(known)}, {found} counts ({option})."] if len(known) > 1 else []


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


def input_of(value: JsonValue, *, keep_text: bool = True) -> tuple[str | None, str | None]:
    """What was asked as text, if *keep_text*, and its digest; both None where *value* is empty."""
    if value is None or value in ("", [], {}):
        return None, None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return text[:_LONGEST_INPUT] if keep_text else None, digest


def facts(values: Mapping[str, JsonValue] | None, options: Options) -> Mapping[str, MetadataValue]:
    """The numbers and short texts among *values* that tell tier or capability."""
    found: dict[str, MetadataValue] = {}
    for name, value in (values or {}).items():
        if not options.wants(name):
            continue
        if isinstance(value, bool) or (isinstance(value, str) and len(value) <= _LONGEST_VALUE):
            found[name] = str(value)
        elif isinstance(value, int | float) and math.isfinite(value):
            found[name] = value
    return found


def capability_in(metadata: Mapping[str, MetadataValue], options: Options, otherwise: str = "") -> str:
    """The capability class that *metadata* names, or *otherwise*."""
    keys = _CAPABILITY_KEYS if options.capability_key is None else (options.capability_key,)
    return next((str(metadata[key]) for key in keys if key in metadata), otherwise)
