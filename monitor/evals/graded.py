"""How hard each case is, as other models' results or a calibration tell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, request_features
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier
from monitor.errors import UsageError
from monitor.evals.cases import Case, Run, request_of
from monitor.evals.tiering import UNGRADED, Grade, Tiering, TierSource, without_tiers
from monitor.evals.words import counted


def tiers_by_calibration(runs: Sequence[Run], calibration: Calibration, source: TierSource, told_by: str) -> Tiering:
    """
    Tiers of the cases of *runs* under a frozen *calibration*; none where it may not be trusted, with the reasons.

    Args:
        runs: Baseline and candidate.
        calibration: What tells the difficulty; it must not have learnt from either run.
        source: What the calibration was learnt from.
        told_by: The same in words.
    """
    if not calibration.trust.is_trusted:
        return without_tiers([f"Tiers by {told_by} are not to be trusted. {' '.join(calibration.trust.reasons)}"])
    cases = {key: case for run in runs for key, case in run.cases.items()}
    grades = {key: _grade(case, calibration) for key, case in cases.items()}
    unknown = sum(grade.tier is Tier.UNTIERED for grade in grades.values())
    if unknown == len(grades):
        return without_tiers([f"Tiers by {told_by} know no case of this suite by its name or its question."])
    notes = [f"Without a tier, since too little is known of them: {counted(unknown, 'case')}."] if unknown else []
    return Tiering(grades, source, f"Tiers by {told_by}.", notes)


def learn_reference(
    runs: Mapping[str, Run], compared: Collection[str], settings: DifficultySettings
) -> tuple[Calibration, Sequence[str]]:
    """
    A calibration learnt from the results of other models, and which of them.

    Args:
        runs: By model, in the order in which they were released.
        compared: Models of the report: they teach nothing about a comparison that they take part in.
        settings: How difficulty is learnt.

    Raises:
        UsageError: nothing is left to learn from.
    """
    models = [model for model in runs if model not in compared]
    calibration = calibrate(
        (label for model in models for label in _labels(runs[model])), frozen_at=0.0, settings=settings
    )
    if calibration is None:
        raise UsageError(
            "The reference results hold no scored case of a model that is not compared; give those of other models."
        )
    return calibration, models


def _labels(run: Run) -> Iterator[LabelledRequest]:
    for case in run.cases.values():
        features = request_features(request_of(case.key, case.capability, case.input_text))
        for attempt in range(case.scored):
            yield LabelledRequest(features, run.model, failed=attempt >= case.passed, started_at=0.0)


def _grade(case: Case, calibration: Calibration) -> Grade:
    tag = calibration.tag(request_features(request_of(case.key, case.capability, case.input_text)))
    is_told = tag.tier is not Tier.UNTIERED
    return Grade(tag.tier, tag.difficulty_logit, tag.difficulty_variance) if is_told else UNGRADED
