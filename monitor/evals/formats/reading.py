"""What every reader is told, how it judges what a row says, and what it hands back."""

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


@contextmanager
def refused(kinds: tuple[type[Exception], ...], what: str, advice: str) -> Iterator[None]:
    """Says with a `ResultFileInvalid` what is wrong with a file over which one of *kinds* is raised, and what to do."""
    try:
        yield
    except kinds as error:
        raise ResultFileInvalid(f"{what} ({' '.join(str(error).split())}); {advice}.") from error


@dataclass(frozen=True, slots=True)
class Options:
    """
    How results are read, where the file leaves a choice.

    Attributes:
        columns: Column by role (`case`, `passed`, ...) of a table; roles left out are guessed.
        metrics: Names of the score that counts, the first that a file has; empty for the file's own first.
        filters: Names of the lm-evaluation-harness filter that counts, in the same way.
        preferred: Outcomes that both runs have, likeliest first: they come before those that only one has.
        pass_at: Lowest score that is a pass; None for 1, where scores run from 0 to 1.
        capability_key: Metadata that holds the capability class, or None to guess.
        tier_column: Metadata that holds the tier, or None to guess.
        case_ids: Cases that a file beside the one that is read names (BFCL).
        keep_text: Whether questions are kept as text: only difficulty and probes need them.
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
        """*outcomes*, those that both runs have first."""
        return list(dict.fromkeys([*(each for each in self.preferred if each in outcomes), *outcomes]))

    def wants(self, name: str) -> bool:
        """Whether the metadata *name* is one that tells tier or capability."""
        folded = name.casefold()
        chosen = {(key or "").casefold() for key in (self.capability_key, self.tier_column)}
        return folded in chosen or fact_name(folded) in (*LABEL_KEYS, *_CAPABILITY_KEYS, *chosen)


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
        outcomes: What may say what passed, the one that counts first; empty where there is no choice.
        highest: The highest score; 0 where there are only verdicts.
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
    """A fact's own name, without those above it; Inspect AI's tables write `metadata_level`."""
    return column.rpartition(".")[2].removeprefix("metadata_")


def most_unfolded(packed_bytes: int) -> int:
    """Bytes that *packed_bytes* may unfold to: no results are folded as tightly as a bomb."""
    return max(_UNSUSPICIOUS_BYTES, LARGEST_RATIO * packed_bytes)


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
    return text[:_LONGEST_INPUT] if keep_text else None, hash_of(text)


class AttemptReader:
    """Turns what rows say into attempts, and remembers what could not be understood; one use per file."""

    def __init__(self, name: str, options: Options, outcome: str = "") -> None:
        """Read the file *name*; *outcome* is the column that says what passed, for messages."""
        self._name = name
        self._options = options
        self._outcome = outcome
        self._classes = _CAPABILITY_KEYS if options.capability_key is None else (options.capability_key,)
        self._pass_at = 1.0 if options.pass_at is None else options.pass_at
        self._lowest, self._highest, self._between = math.inf, -math.inf, 0
        self._unclear: Counter[str] = Counter()
        self._unclear_checks = 0
        self._told, self._checks = set[bool | None](), set[bool | None]()

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
            broken: Why there is no score whatever *outcome* says, or None.
            error: What the run says of an error. A failure stays one, unless the model could not be asked; anything
                else is unknown.
            is_verdict: Whether 0 and 1 say no and yes; else they are scores.
            question: What was asked.
            metadata: Facts about the case, as the method `facts` gives them.
            capability: The class; empty where *metadata* may name one.
            otherwise: The class where nothing names one.
            failure: What went wrong, if it failed.
            human: What a person said who checked the answer: yes or no, in any words.
            more: What else an `Attempt` holds, over what the others tell.
        """
        passed, because = self._judged(outcome, is_verdict=is_verdict) if broken is None else (None, broken)
        lines = str(error or "").strip().splitlines() or [""]
        told = f"{lines[0][:_LONGEST_FAILURE]} {lines[-1][:_LONGEST_FAILURE]}"  # a traceback has its reason at its end
        is_unanswered = "assert" not in told.casefold() and _UNANSWERED.search(told)
        if broken is None and word_of(lines[0]) not in _NO_ERROR and (passed is not False or is_unanswered):
            passed, because = None, "error"
        about, classes = metadata or {}, self._classes
        text, digest = input_of(question, keep_text=self._options.keep_text)
        inputs: dict[str, Any] = {"input_text": text, "input_digest": digest, **more}
        return Attempt(
            key=key,
            passed=passed,
            capability=capability or next((str(about[key]) for key in classes if key in about), otherwise),
            failure=shortened(failure) if passed is False else None,
            unscored_because=because,
            metadata=about,
            human=self._checked(word_of(human)),
            **inputs,
        )

    def facts(self, values: Mapping[str, JsonValue] | None) -> Mapping[str, MetadataValue]:
        """The numbers and short texts among *values* that tell tier or capability."""
        found: dict[str, MetadataValue] = {}
        for name, value in (values or {}).items():
            if not self._options.wants(name):
                continue
            if isinstance(value, bool) or (isinstance(value, str) and len(value) <= _LONGEST_VALUE):
                found[name] = str(value)
            elif isinstance(value, int | float) and math.isfinite(value):
                found[name] = value
        return found

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
        highest = self._highest if self._lowest < math.inf else 0.0
        return ResultFile(self._name, form, found, (*notes, *self._notes()), highest=highest, **more)

    def _judged(self, value: JsonValue, *, is_verdict: bool) -> tuple[bool | None, str | None]:
        """Whether *value* is a pass, and if it is neither, why not."""
        word = word_of(value)
        if is_unscored(word):
            return None, word or "no score"
        if word in _DECIDED and (is_verdict or isinstance(value, bool) or number_of(value) is None):
            self._told.add(_meant_by(word))
            self._highest = max(self._highest, float(word in PASSING))  # beside a part, a pass is the whole
            return word in PASSING, None
        score = PARTLY if word in _PARTLY else number_of(value)
        if score is None:
            self._unclear[word] += 1
            return None, "not understood"
        # Ten tenths do not add up to 1.
        score = round(score * (whole_of(value) if self._pass_at > 1.0 else 1.0), 9)
        self._told.add(score >= self._pass_at)
        self._lowest, self._highest = min(self._lowest, score), max(self._highest, score)
        self._between += 0.0 < score < 1.0
        return score >= self._pass_at, None

    def _checked(self, word: str) -> bool | None:
        if word not in _DECIDED:
            self._unclear_checks += not is_unscored(word)
            return None
        self._checks.add(_meant_by(word))
        return word in PASSING

    def _notes(self) -> Iterator[str]:
        if self._checks == {None}:
            raise ChoiceMissing(f'{self._name}: people wrote nothing but "x" in their column; write yes and no.')
        if self._told == {None}:
            self._unclear.update(VALUES["mark"])
        unclear = ", ".join(f'"{shortened(word, LONGEST_NAME)}"' for word, _ in self._unclear.most_common(_SHOWN))
        if unclear and len(self._told) < len({True, False}):  # what is not understood may be the other word
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
    """*value* as text, empty for None; a whole number without the .0 that tables with a gap in their column write."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else normalize("NFC", str(value).strip())  # a Mac writes é as e with an accent


def word_of(value: JsonValue) -> str:
    """
    *value* in lower case, with _ for a space or hyphen and without marks around a word; a long text as it is.

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
    """Whether *word* is for a run that did not end."""
    within = () if word.startswith("no_") else VALUES["broken_within"]
    return word in VALUES["broken"] or any(part in word for part in within)


def _meant_by(word: str) -> bool | None:
    """Whether *word* says passed; None for a mark that some put where it passed, some where it failed."""
    return None if word in VALUES["mark"] else word in PASSING


def is_unscored(word: str) -> bool:
    """Whether *word* says that nothing was scored."""
    return word in VALUES["unscored"] or (len(word) <= LONGEST_NAME and is_broken(word))


def is_understood(word: str) -> bool:
    """Whether *word* says what passed, or that nothing was scored."""
    return word in _DECIDED | _PARTLY or is_unscored(word)


def number_of(value: JsonValue | Decimal) -> float | None:
    """
    A finite number, a part of a whole as a ratio; None for anything else.

    >>> number_of("0,9"), number_of("80 %"), number_of("3/5"), number_of("n/a"), number_of(Decimal("1.00"))
    (0.9, 0.8, 0.6, None, 1.0)
    """
    number: Any = value
    if isinstance(value, str):
        found = _NUMBER.fullmatch(value.strip())
        number = found and float(found["number"].replace(",", ".")) / whole_of(value)
    return float(number) if isinstance(number, int | float | Decimal) and -_LARGEST <= number <= _LARGEST else None


def whole_of(value: JsonValue) -> float:
    """What *value* is a part of: 100 for a per cent, 5 for `3/5`, 1 for a number."""
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    return 1.0 if found is None else 100.0 if found["percent"] else float((found["whole"] or "1").replace(",", "."))


# A number, with a decimal point or comma; a per cent; or so many of so many.
_NUMBER = re.compile(
    r"""(?P<number>[-+]?(?:\d+(?:[.,]\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*
    (?:(?P<percent>%)|(?:/|of|out\ of)\s*(?P<whole>0*[1-9]\d*(?:[.,]\d+)?))?""",
    re.IGNORECASE | re.VERBOSE,
)
