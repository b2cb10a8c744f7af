"""Options and results of all readers, and the judgement whether an outcome is a pass."""

from __future__ import annotations

import json
import math
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any
from unicodedata import normalize

from pydantic import JsonValue

from monitor.errors import UsageError
from monitor.evals.cases import Attempt, CaseKey, MetadataValue
from monitor.trace.model import hash_of

WORDS = tomllib.loads(files("monitor.evals.formats").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
"""The words of `vocabulary.toml`."""

LONGEST_NAME = 80
PARTLY = 0.5
"""Score of an answer that is partly right."""

VALUES: Mapping[str, frozenset[str]] = {kind: frozenset(words) for kind, words in WORDS["values"].items()}
PASSING, FAILING = VALUES["passing"], VALUES["failing"]
_DECIDED = PASSING | FAILING
_PARTLY, _NO_ERROR = VALUES["partly"], VALUES["unscored"] | VALUES["no_error"] | FAILING
_UNANSWERED = re.compile(WORDS["runs"]["unanswered"], re.IGNORECASE | re.VERBOSE)
_SHOWN = 3
# Around at least two letters, so that a grade (C+) stays what it is.
_MARKS = re.compile(r"^[^\w<>()]+(?=[^\W\d_]{2})|(?<=[^\W\d_]{2})[^\w<>()]+$")
LARGEST_RATIO, _UNSUSPICIOUS_BYTES, _LARGEST = 200, 64 * 1024**2, sys.float_info.max
_LONGEST_FAILURE = 2_000
_LONGEST_INPUT = 20_000
_LONGEST_VALUE = 128
LABEL_KEYS = ("tier", "difficulty", "level", "difficulty_level", "hardness")
"""Metadata that counts as the tier label if you name none."""

_CAPABILITY_KEYS = ("capability", "capability_class", "category", "subject")


class Format(StrEnum):
    """Format of a result file."""

    INSPECT = "Inspect AI log"
    LM_EVAL = "lm-evaluation-harness samples"
    PROMPTFOO = "promptfoo results"
    EVENTS = "native or OpenTelemetry events"
    SWE_BENCH = "SWE-bench report"
    BFCL = "BFCL scores"
    JUNIT = "JUnit XML"
    TABLE = "table with named columns"


class ResultFileInvalid(UsageError):
    """A file holds no eval results that can be read; name another file."""


class ChoiceMissing(UsageError):
    """A result file cannot be read without an option; the message says which."""


class ChoiceAbsent(ChoiceMissing):
    """A result file lacks what an option names."""


@contextmanager
def refused(kinds: tuple[type[Exception], ...], what: str, advice: str) -> Iterator[None]:
    """Turns exceptions of *kinds* into a `ResultFileInvalid` that names *what* is wrong and gives *advice*."""
    try:
        yield
    except kinds as error:
        raise ResultFileInvalid(f"{what} ({' '.join(str(error).split())}); {advice}.") from error


@dataclass(frozen=True, slots=True)
class Options:
    """
    How to read results that leave a choice.

    Attributes:
        columns: Column by role (`case`, `passed`, ...) of a table; other roles are guessed.
        metrics: Names of the score that counts, the first that a file has; empty for the file's own first score.
        filters: Names of the lm-evaluation-harness filter that counts, in the same way.
        preferred: Outcomes that both runs have, likeliest first; they come before those that only one run has.
        pass_at: Lowest score that is a pass; None for 1, if scores range from 0 to 1.
        capability_key: Metadata that holds the capability class, or None to guess.
        tier_column: Metadata that holds the tier, or None to guess.
        case_ids: Case ids from a second file (BFCL).
        keep_text: Whether to keep questions as text, which only difficulty and probes need.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    filters: Sequence[str] = ()
    preferred: Sequence[str] = ()
    pass_at: float | None = None
    capability_key: str | None = None
    tier_column: str | None = None
    case_ids: Sequence[str] = ()
    keep_text: bool = True

    def preferring(self, outcomes: Sequence[str]) -> Sequence[str]:
        """*outcomes*, with those that both runs have first."""
        return list(dict.fromkeys([*(each for each in self.preferred if each in outcomes), *outcomes]))

    def wants(self, name: str) -> bool:
        """Whether the metadata *name* holds a tier or a capability."""
        folded = name.casefold()
        chosen = {(key or "").casefold() for key in (self.capability_key, self.tier_column)}
        return folded in chosen or fact_name(folded) in (*LABEL_KEYS, *_CAPABILITY_KEYS, *chosen)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """
    The content of one file.

    Attributes:
        name: File name as given.
        notes: Choices and guesses made while reading, one sentence each.
        series: Id of the run, of which the latest file replaces earlier ones; None if none does.
        written: Time of writing, in a form that sorts.
        case_columns: Columns that may name the case, likeliest first; empty if the format leaves no choice.
        outcomes: Fields that may hold the outcome, the one that counts first; empty if there is no choice.
        highest: The highest score; 0 if there are only verdicts.
    """

    name: str
    format: Format
    attempts: Sequence[Attempt]
    notes: Sequence[str] = ()
    series: str | None = None
    written: str = ""
    case_columns: Sequence[str] = ()
    outcomes: Sequence[str] = ()
    highest: float = 0.0


def fact_name(column: str) -> str:
    """Last part of a fact's name; Inspect AI's tables write `metadata_level`."""
    return column.rpartition(".")[2].removeprefix("metadata_")


def most_unfolded(packed_bytes: int) -> int:
    """Largest size that *packed_bytes* may decompress to; only a decompression bomb exceeds it."""
    return max(_UNSUSPICIOUS_BYTES, LARGEST_RATIO * packed_bytes)


def chosen(name: str, kind: str, asked: Sequence[str], known: Sequence[str], option: str) -> tuple[str, Sequence[str]]:
    """
    The first of *asked* that is *known*, or the first known one if nothing is asked; and a note if there was a choice.

    Raises:
        ChoiceAbsent: none of *asked* is known.
        ResultFileInvalid: nothing is known.
    """
    if not known:
        raise ResultFileInvalid(f"{name} has no {kind} that scores each case.")
    first = next((each for each in asked or known if each in known), None)
    if first is None:
        raise ChoiceAbsent(f"{name} has no {kind} {' or '.join(asked)} ({option}); it has {', '.join(known)}.")
    return first, [f"Of the {kind}s {', '.join(known)}, {first} counts ({option})."] if len(known) > 1 else []


def shortened(text: str | None, limit: int = _LONGEST_FAILURE) -> str | None:
    """*text* cut to *limit* characters, or None if it is empty."""
    text = (text or "").strip()
    return (text if len(text) <= limit else f"{text[: limit - 1]}…") or None


def failure_of(answer: JsonValue, expected: JsonValue) -> str | None:
    """The failure in words, from the answer and the expected answer."""
    if not isinstance(answer, str) or not answer.strip():
        return None
    right = shortened(expected if isinstance(expected, str) else None, _LONGEST_VALUE)
    return shortened(f"answered {answer.strip()}" + ("" if right is None else f" (expected {right})"))


def input_of(value: JsonValue, *, keep_text: bool = True) -> tuple[str | None, str | None]:
    """The question as text, if *keep_text*, and its digest; both None if *value* is empty."""
    if value is None or value in ("", [], {}):
        return None, None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text[:_LONGEST_INPUT] if keep_text else None, hash_of(text)


class AttemptReader:
    """Turns rows of one file into attempts, and collects outcomes that it does not understand."""

    def __init__(self, name: str, options: Options, outcome: str = "") -> None:
        """Read the file *name*; *outcome* is the name of the outcome column, for messages."""
        self._name = name
        self._options = options
        self._outcome = outcome
        self._classes = _CAPABILITY_KEYS if options.capability_key is None else (options.capability_key,)
        self._pass_at = 1.0 if options.pass_at is None else options.pass_at
        self._lowest, self._highest, self._between = math.inf, -math.inf, 0
        self._unclear: Counter[str] = Counter()
        self._unclear_checks = 0
        self._verdicts, self._human_verdicts = set[bool | None](), set[bool | None]()

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
        human: JsonValue = None,
        **more: Any,
    ) -> Attempt:
        """
        One attempt of a case.

        Args:
            key: The case.
            outcome: A boolean, a word or a score.
            broken: Why there is no score, regardless of *outcome*; or None.
            error: Error message of the run. A failure with an error stays a failure, unless the model could not be
                reached; any other outcome with an error is unknown.
            is_verdict: Whether 0 and 1 mean fail and pass; else they are scores.
            question: The question.
            metadata: Facts about the case, as returned by `facts`.
            capability: The class; empty to take it from *metadata*.
            otherwise: The class if neither names one.
            failure: The reason of a failure.
            human: Verdict of a person who checked the answer: yes or no, in any words.
            more: Other fields of the `Attempt`, which override those derived here.
        """
        passed, because = self._judged(outcome, is_verdict=is_verdict) if broken is None else (None, broken)
        lines = str(error or "").strip().splitlines() or [""]
        message = f"{lines[0][:_LONGEST_FAILURE]} {lines[-1][:_LONGEST_FAILURE]}"  # a traceback ends with its reason
        is_unanswered = "assert" not in message.casefold() and _UNANSWERED.search(message)
        if broken is None and word_of(lines[0]) not in _NO_ERROR and (passed is not False or is_unanswered):
            passed, because = None, "error"
        facts, classes = metadata or {}, self._classes
        text, digest = input_of(question, keep_text=self._options.keep_text)
        inputs: dict[str, Any] = {"input_text": text, "input_digest": digest, **more}
        return Attempt(
            key=key,
            passed=passed,
            capability=capability or next((str(facts[key]) for key in classes if key in facts), otherwise),
            failure=shortened(failure) if passed is False else None,
            unscored_because=because,
            metadata=facts,
            human=self._human_verdict(word_of(human)),
            **inputs,
        )

    def facts(self, values: Mapping[str, JsonValue] | None) -> Mapping[str, MetadataValue]:
        """Numbers and short texts among *values* that hold a tier or a capability."""
        facts: dict[str, MetadataValue] = {}
        for name, value in (values or {}).items():
            if not self._options.wants(name):
                continue
            if isinstance(value, bool) or (isinstance(value, str) and len(value) <= _LONGEST_VALUE):
                facts[name] = str(value)
            elif isinstance(value, int | float) and math.isfinite(value):
                facts[name] = value
        return facts

    def result(self, form: Format, attempts: Iterable[Attempt], *notes: str, **more: Any) -> ResultFile:
        """
        The content of the file.

        Raises:
            ChoiceMissing: the scale does not show which scores pass, or outcomes are unclear.
            ResultFileInvalid: there is no attempt.
        """
        listed = list(attempts)
        if not listed:
            raise ResultFileInvalid(f"{self._name} holds no case; run the suite again.")
        highest = self._highest if self._lowest < math.inf else 0.0
        return ResultFile(self._name, form, listed, (*notes, *self._notes()), highest=highest, **more)

    def _judged(self, value: JsonValue, *, is_verdict: bool) -> tuple[bool | None, str | None]:
        """Whether *value* is a pass, and the reason if it is neither pass nor failure."""
        word = word_of(value)
        if is_unscored(word):
            return None, word or "no score"
        if word in _DECIDED and (is_verdict or isinstance(value, bool) or number_of(value) is None):
            self._verdicts.add(_meant_by(word))
            self._highest = max(self._highest, float(word in PASSING))  # among partial scores, a pass is a score of 1
            return word in PASSING, None
        score = PARTLY if word in _PARTLY else number_of(value)
        if score is None:
            self._unclear[word] += 1
            return None, "not understood"
        # Rounded, because ten floats of 0.1 do not sum to 1.
        score = round(score * (whole_of(value) if self._pass_at > 1.0 else 1.0), 9)
        self._verdicts.add(score >= self._pass_at)
        self._lowest, self._highest = min(self._lowest, score), max(self._highest, score)
        self._between += 0.0 < score < 1.0
        return score >= self._pass_at, None

    def _human_verdict(self, word: str) -> bool | None:
        if word not in _DECIDED:
            self._unclear_checks += not is_unscored(word)
            return None
        self._human_verdicts.add(_meant_by(word))
        return word in PASSING

    def _notes(self) -> Iterator[str]:
        if self._human_verdicts == {None}:
            raise ChoiceMissing(f'{self._name}: people wrote nothing but "x" in their column; write yes and no.')
        if self._verdicts == {None}:
            self._unclear.update(VALUES["mark"])
        unclear = ", ".join(f'"{shortened(word, LONGEST_NAME)}"' for word, _ in self._unclear.most_common(_SHOWN))
        if unclear and len(self._verdicts) < len({True, False}):  # an unclear word may be the missing verdict
            raise ChoiceMissing(
                f"{self._name}: {self._outcome} holds {unclear}, which does not say what passed; name another column "
                "with --column passed=NAME or --metric NAME, or write pass and fail."
            )
        if unclear:
            yield f"{self._unclear.total():,} outcomes are neither pass nor fail ({unclear}) and count as unscored."
        if self._unclear_checks:
            yield f"{self._unclear_checks:,} verdicts of people say neither yes nor no and count as not given."
        low, high = self._lowest, self._highest
        is_graded = self._between and high < 1.0
        if self._options.pass_at is None and low <= high and (low < 0.0 or high > 1.0 or is_graded):
            raise ChoiceMissing(
                f"{self._name} has scores from {low:g} to {high:g}; say which is the lowest that passes, such as "
                f"--pass-at {0.25 * low + 0.75 * high:.4g}."
            )
        if self._between:
            yield f"{self._between:,} scores lie between 0 and 1; those of at least {self._pass_at:g} pass (--pass-at)."


def text_of(value: JsonValue) -> str:
    """*value* as text, empty for None; a whole number without `.0`, which tables with gaps add."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else normalize("NFC", str(value).strip())  # macOS may write é as two characters


def word_of(value: JsonValue) -> str:
    """
    *value* in lower case, with _ for spaces and hyphens and without symbols around words; a long text is unchanged.

    >>> word_of("✅ Pass"), word_of("Correct!"), word_of("timed-out"), word_of("C+"), word_of("✔️"), word_of("-")
    ('pass', 'correct', 'timed_out', 'c+', '✔', '-')
    """
    if isinstance(value, str):
        if len(value) > LONGEST_NAME:
            return value
        word = _MARKS.sub("", value.strip().casefold().replace("\ufe0f", ""))
        return word.replace(" ", "_").replace("-", "_") if len(word) > 1 else word
    return str(value).casefold() if value is not None else ""


@cache
def is_broken(word: str) -> bool:
    """Whether *word* means that a run did not end."""
    within = () if word.startswith("no_") else VALUES["broken_within"]
    return word in VALUES["broken"] or any(part in word for part in within)


def _meant_by(word: str) -> bool | None:
    """Whether *word* means passed; None for a mark (x), which means passed in some files and failed in others."""
    return None if word in VALUES["mark"] else word in PASSING


def is_unscored(word: str) -> bool:
    """Whether *word* means that there is no score."""
    return word in VALUES["unscored"] or (len(word) <= LONGEST_NAME and is_broken(word))


def is_understood(word: str) -> bool:
    """Whether *word* means pass, failure, a part, or no score."""
    return word in _DECIDED | _PARTLY or is_unscored(word)


def number_of(value: JsonValue | Decimal) -> float | None:
    """
    *value* as a finite number, with percentages and fractions as ratios; None for anything else.

    >>> number_of("0,9"), number_of("80 %"), number_of("3/5"), number_of("n/a"), number_of(Decimal("1.00"))
    (0.9, 0.8, 0.6, None, 1.0)
    """
    number: Any = value
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        number = match and float(match["number"].replace(",", ".")) / whole_of(value)
    return float(number) if isinstance(number, int | float | Decimal) and -_LARGEST <= number <= _LARGEST else None


def whole_of(value: JsonValue) -> float:
    """Denominator of *value*: 100 for a percentage, 5 for `3/5`, 1 for a number."""
    match = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    return 1.0 if match is None else 100.0 if match["percent"] else float((match["whole"] or "1").replace(",", "."))


# A number with a decimal point or comma; a percentage; or a fraction such as `3/5` or `3 of 5`.
_NUMBER = re.compile(
    r"""(?P<number>[-+]?(?:\d+(?:[.,]\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*
    (?:(?P<percent>%)|(?:/|of|out\ of)\s*(?P<whole>0*[1-9]\d*(?:[.,]\d+)?))?""",
    re.IGNORECASE | re.VERBOSE,
)
