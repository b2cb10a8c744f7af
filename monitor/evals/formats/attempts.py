"""What a row of results says, as an attempt: the same words, scores and facts whatever tool wrote it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import JsonValue

from monitor.evals.cases import Attempt, CaseKey, MetadataValue
from monitor.evals.formats.reading import (
    WORDS,
    ChoiceMissing,
    Format,
    Options,
    ResultFile,
    ResultFileInvalid,
    capability_in,
    facts,
    input_of,
    shortened,
)

LONGEST_NAME = 80
VALUES: Mapping[str, frozenset[str]] = {kind: frozenset(words) for kind, words in WORDS["values"].items()}
PASSING, FAILING = VALUES["passing"], VALUES["failing"]
_PARTLY, _NO_ERROR = VALUES["partly"], VALUES["unscored"] | FAILING
_SHOWN = 3


class AttemptReader:
    """Turns what rows say into attempts, and remembers what could not be understood; one use per file."""

    def __init__(self, name: str, options: Options, outcome: str = "") -> None:
        """Read the file *name*; *outcome* is the column that says what passed, for messages."""
        self._name = name
        self._options = options
        self._outcome = outcome
        self._pass_at = 1.0 if options.pass_at is None else options.pass_at
        self._lowest, self._highest, self._between = math.inf, -math.inf, 0
        self._unclear: Counter[str] = Counter()
        self._understood = False

    def attempt(
        self,
        key: CaseKey,
        outcome: JsonValue,
        *,
        broken: str | None = None,
        error: JsonValue = None,
        is_verdict: bool = False,
        question: JsonValue = None,
        metadata: Mapping[str, MetadataValue] | None = None,
        capability: str = "",
        otherwise: str = "",
        failure: str | None = None,
        **more: Any,
    ) -> Attempt:
        """
        One attempt of a case.

        Args:
            key: The case.
            outcome: A boolean, a word or a score.
            broken: Why there is no score whatever *outcome* says, or None.
            error: What the run says of an error: it leaves a failure one, and anything else unknown.
            is_verdict: Whether 0 and 1 say no and yes; else they are scores.
            question: What was asked.
            metadata: Facts about the case, as `facts` gives them.
            capability: The class; empty where *metadata* may name one.
            otherwise: The class where nothing names one.
            failure: What went wrong, if it failed.
            more: What else an `Attempt` holds, over what the others tell.
        """
        passed, because = self._judged(outcome, is_verdict=is_verdict) if broken is None else (None, broken)
        if passed is not False and broken is None and word_of(error) not in _NO_ERROR and number_of(error) is None:
            passed, because = None, "error"
        about = metadata or {}
        text, digest = input_of(question, keep_text=self._options.keep_text)
        told: dict[str, Any] = {"input_text": text, "input_digest": digest, **more}
        return Attempt(
            key=key,
            passed=passed,
            capability=capability or capability_in(about, self._options, otherwise),
            failure=shortened(failure) if passed is False else None,
            unscored_because=because,
            metadata=about,
            **told,
        )

    def facts(self, values: Mapping[str, JsonValue] | None) -> Mapping[str, MetadataValue]:
        """What *values* tell of tier and capability."""
        return facts(values, self._options)

    def result(self, form: Format, attempts: Iterable[Attempt], *notes: str, **more: Any) -> ResultFile:
        """
        What the file said.

        Raises:
            ChoiceMissing: the scale does not say which scores pass, or no outcome was understood.
            ResultFileInvalid: there is no attempt.
        """
        found = list(attempts)
        if not found:
            raise ResultFileInvalid(f"{self._name} holds no case; run the suite again.")
        return ResultFile(self._name, form, found, (*notes, *self._notes()), **more)

    def _judged(self, value: JsonValue, *, is_verdict: bool) -> tuple[bool | None, str | None]:
        """Whether *value* is a pass, and if it is neither, why not."""
        if isinstance(value, bool):
            self._understood = True
            return value, None
        word = word_of(value)
        if is_unscored(word):
            return None, word or "no score"
        if word in PASSING | FAILING and (is_verdict or number_of(value) is None):
            self._understood = True
            return word in PASSING, None
        score = 0.5 if word in _PARTLY else number_of(value)
        if score is None:
            self._unclear[word] += 1
            return None, "not understood"
        if isinstance(value, str) and value.strip().endswith("%") and self._pass_at > 1.0:
            score *= 100.0
        self._understood = True
        self._lowest, self._highest = min(self._lowest, score), max(self._highest, score)
        self._between += 0.0 < score < 1.0
        return score >= self._pass_at, None

    def _notes(self) -> Iterator[str]:
        unclear = ", ".join(f'"{shortened(word, LONGEST_NAME)}"' for word, _ in self._unclear.most_common(_SHOWN))
        if unclear and not self._understood:
            raise ChoiceMissing(
                f"{self._name}: {self._outcome} holds {unclear}, which does not say what passed; name another column "
                "with --column passed=NAME or --metric NAME, or write pass and fail."
            )
        if unclear:
            count = self._unclear.total()
            yield f"{count:,} outcomes are neither pass nor fail ({unclear}) and count as unscored."
        low, high = self._lowest, self._highest
        is_graded = self._between and high < 1.0
        if self._options.pass_at is None and low <= high and (low < 0.0 or high > 1.0 or is_graded):
            raise ChoiceMissing(
                f"{self._name} has scores from {low:g} to {high:g}; say which is the lowest that passes, such as "
                f"--pass-at {low + 0.75 * (high - low):.2g}."
            )
        if self._between:
            yield f"{self._between:,} scores lie between 0 and 1; those of at least {self._pass_at:g} pass (--pass-at)."


def word_of(value: JsonValue) -> str:
    """*value* in lower case, with _ for a space; a long text as it is."""
    if isinstance(value, str):
        return value.strip().casefold().replace(" ", "_") if len(value) <= LONGEST_NAME else value
    return str(value).casefold() if value is not None else ""


@cache
def is_broken(word: str) -> bool:
    """Whether *word* is for a run that did not end."""
    is_within = any(part in word for part in VALUES["broken_within"])
    return word in VALUES["broken"] or (is_within and not word.startswith("no_"))


def is_unscored(word: str) -> bool:
    """Whether *word* says that nothing was scored."""
    return word in VALUES["unscored"] or (len(word) <= LONGEST_NAME and is_broken(word))


def is_understood(word: str) -> bool:
    """Whether *word* says what passed, or that nothing was scored."""
    return word in PASSING | FAILING | _PARTLY or is_unscored(word)


def number_of(value: JsonValue) -> float | None:
    """A finite number, a per cent as a ratio; None for anything else."""
    if isinstance(value, str):
        text = value.strip()
        try:
            number = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
        except ValueError:
            return None
    elif isinstance(value, bool | int | float):
        number = float(value)
    else:
        return None
    return number if math.isfinite(number) else None
