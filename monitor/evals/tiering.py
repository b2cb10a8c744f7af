"""Assigns tiers to cases, from the suite's own labels, other models' results or a calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, request_features
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier
from monitor.errors import UsageError
from monitor.evals.cases import UNGRADED, Case, CaseKey, Grade, Pair, Run, request_of
from monitor.evals.formats.reading import LABEL_KEYS, WORDS, text_of
from monitor.rollout.wording import counted, some_of

_WORDS = {word: Tier(tier) for tier, words in WORDS["tiers"].items() for word in words}
_SHOWN = 4


class TierSource(StrEnum):
    """Where the tiers of an eval report come from."""

    LABELS = "labels"
    CALIBRATION = "calibration"
    REFERENCE = "reference"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Tiering:
    """
    Tiers and difficulties of the cases of both runs.

    Attributes:
        grades: Grade of each case, paired or not.
        explanation: One sentence for the reader: where the tiers come from, or how to get some.
        notes: Labels or cases that could not be used, one sentence each.
    """

    grades: Mapping[CaseKey, Grade]
    source: TierSource
    explanation: str
    notes: Sequence[str] = ()

    @property
    def has_tiers(self) -> bool:
        """Whether at least one case has a tier."""
        return any(grade.tier is not Tier.UNTIERED for grade in self.grades.values())

    def tier_of(self, key: CaseKey) -> Tier:
        """Tier of a case of either run."""
        return self.grades.get(key, UNGRADED).tier

    def tiered(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """*pairs*, each with its grade."""
        return [Pair(pair.baseline, pair.candidate, self.grades.get(pair.key, UNGRADED)) for pair in pairs]


def without_tiers(notes: Sequence[str] = ()) -> Tiering:
    """A tiering without any tier: the report is only an aggregate."""
    explanation = (
        "Tiers are not known, so this report is only an aggregate. Name the suite's own labels (--tier-column "
        "difficulty --tier hard=level5), results of other models (--reference FILE), or a calibration (--ledger URL)."
    )
    return Tiering({}, TierSource.NONE, explanation, notes)


def require_label(runs: Sequence[Run], name: str | None, option: str) -> None:
    """
    Checks that some case of *runs* has the metadata that an *option* names, since a typo would hide a tier.

    Raises:
        UsageError: no case has it.
    """
    if name is not None and not any(_label(case, name) for run in runs for case in run.cases.values()):
        raise UsageError(f"No case has {name} ({option}), a number or a short text; check the name.")


def tiers_by_label(runs: Sequence[Run], column: str | None, meanings: Mapping[str, Tier]) -> Tiering | None:
    """
    Tiers by the suite's own labels; None if no case has a label. If the runs disagree, the candidate's label counts.

    Args:
        runs: Baseline and candidate.
        column: Metadata that holds the label, or None to guess.
        meanings: Tier by label, in lower case, in addition to the common words for tiers.
    """
    cases = {key: case for run in runs for key, case in run.cases.items()}
    columns = LABEL_KEYS if column is None else (column,)
    column = next((each for each in columns if any(_label(case, each) for case in cases.values())), None)
    if column is None:
        return None
    labels = {key: _label(case, column) for key, case in cases.items()}
    tiers = {**_WORDS, **meanings}
    by_label = {label: Grade(tiers.get((label or "").casefold(), Tier.UNTIERED)) for label in set(labels.values())}
    grades = {key: by_label[label] for key, label in labels.items()}
    notes = tuple(_notes(labels, grades))
    if all(grade.tier is Tier.UNTIERED for grade in by_label.values()):
        explanation = f"The suite's labels ({column}) name no tier, so this report is only an aggregate."
        return Tiering({}, TierSource.NONE, explanation, notes)
    return Tiering(grades, TierSource.LABELS, f"Tiers are the suite's own labels ({column}).", notes)


def _notes(labels: Mapping[CaseKey, str | None], grades: Mapping[CaseKey, Grade]) -> Iterable[str]:
    unclear = Counter(label for key, label in labels.items() if label and grades[key].tier is Tier.UNTIERED)
    if unclear:
        shown = some_of([f"{label} ({count:,})" for label, count in unclear.most_common()], _SHOWN)
        likely = unclear.most_common(1)[0][0]
        yield f'Labels that name no tier: {shown}; map them with --tier "hard={likely}".'
    unlabelled = sum(label is None for label in labels.values())
    if unlabelled:
        yield f"Without a label, and untiered: {unlabelled:,} of {counted(len(labels), 'case')}."


def _label(case: Case, column: str) -> str | None:
    value = case.metadata.get(column)
    if value is None:
        value = next((each for name, each in case.metadata.items() if name.casefold() == column.casefold()), None)
    return text_of(value) or None


def tiers_by_calibration(runs: Sequence[Run], calibration: Calibration, source: TierSource, name: str) -> Tiering:
    """
    Tiers of the cases of *runs* by a frozen *calibration*; none, with the reasons, if it is not trusted.

    Args:
        runs: Baseline and candidate.
        calibration: Estimates the difficulty; it must not have learnt from either run.
        source: What the calibration was learnt from.
        name: Name of the source in sentences.
    """
    if not calibration.trust.is_trusted:
        return without_tiers([f"Tiers by {name} are not trusted. {' '.join(calibration.trust.reasons)}"])
    cases = {key: case for run in runs for key, case in run.cases.items()}
    grades = {key: _grade(case, calibration) for key, case in cases.items()}
    unknown = sum(grade.tier is Tier.UNTIERED for grade in grades.values())
    if unknown == len(grades):
        return without_tiers([f"Tiers by {name} know no case of this suite by its name or its question."])
    notes = [f"Without a tier, because too little is known about them: {counted(unknown, 'case')}."] if unknown else []
    return Tiering(grades, source, f"Tiers by {name}.", notes)


def learn_reference(
    runs: Mapping[str, Run], compared: Collection[str], settings: DifficultySettings
) -> tuple[Calibration, Sequence[str]]:
    """
    A calibration learnt from the results of other models, and the names of these models.

    Args:
        runs: Runs by model, in order of release.
        compared: Models of the report, which must not influence the difficulty that they are compared by.
        settings: Settings of the calibration.

    Raises:
        UsageError: nothing is left to learn from.
    """
    models = [model for model in runs if model not in compared]
    labels = (label for model in models for label in _labels(runs[model]))
    calibration = calibrate(labels, frozen_at=0.0, settings=settings)
    if calibration is None:
        raise UsageError(
            "The references hold no scored case of another model than those compared; give those of other models."
        )
    return calibration, models


def _labels(run: Run) -> Iterator[LabelledRequest]:
    for case in run.cases.values():
        features = request_features(request_of(case.key, case.capability, case.input_text))
        for attempt in range(case.scored):
            yield LabelledRequest(features, run.model, failed=attempt >= case.passed, started_at=0.0)


def _grade(case: Case, calibration: Calibration) -> Grade:
    tag = calibration.tag(request_features(request_of(case.key, case.capability, case.input_text)))
    return Grade(tag.tier, tag.difficulty_logit, tag.difficulty_variance) if tag.tier is not Tier.UNTIERED else UNGRADED
