"""Chooses the runs to compare among those in the files, and the column that names their cases."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from msgspec import structs

from monitor.errors import UsageError
from monitor.evals.cases import Case, CaseFold, CaseKey, Pairing, Run, merged, pair_runs, runs_of
from monitor.evals.formats.reading import Options, ResultFile
from monitor.evals.report import ArmSource
from monitor.rollout.wording import some_of

_ENOUGH_IN_COMMON = 0.5
_SHOWN = 20
_OTHER_SCALE = 4.0
"""Highest score from which the scale is not 0 to 1."""

_REPEAT = re.compile(r"[-_ ]?(run|trial|attempt|epoch|repeat|rep|seed|iteration)[-_ ]?\d+$", re.IGNORECASE)  # of a file


@dataclass(frozen=True, slots=True)
class Side:
    """
    One side of a comparison, as given on the command line.

    Attributes:
        path: File or folder.
        model: The model to compare, or None if there is only one; `model [prompt]` for one of its prompts.
        option: Option that names a model, for messages.
    """

    path: str
    model: str | None
    option: str


ReadSide = Callable[[Side, Options], Sequence[ResultFile]]


def paired(before: Side, after: Side, read: ReadSide, options: Options) -> tuple[Pairing, ArmSource, ArmSource]:
    """
    Pairs both runs by the first column that names the cases of both.

    An id that each run draws anew pairs nothing, and an id of many rows names a group; then the next column that may
    name a case is tried.

    Raises:
        UsageError: there is no such run, or several and none was named.
    """
    tried: list[tuple[Pairing, ArmSource, ArmSource]] = []
    columns: Sequence[str | None] = [None]
    while len(tried) < len(columns):
        column = columns[len(tried)]
        current = options if column is None else replace(options, columns={**options.columns, "case": column})
        sides = [_Folded(side, read(side, current)) for side in (before, after)]  # one by one: attempts are many
        if column is None:
            shared = _shared_outcomes(*sides)
            if shared and not options.preferred:
                options = replace(options, preferred=shared)
                continue
            columns = [None, *(name for name in sides[0].case_columns[1:] if name in sides[1].case_columns)]
        low, high = sorted(side.highest for side in sides)
        if 0.0 < low <= 1.0 and high >= _OTHER_SCALE:
            raise UsageError(
                f"{before.path} and {after.path} have scores of up to {sides[0].highest:g} and {sides[1].highest:g}; "
                "write both on one scale, or as pass and fail."
            )
        tried.append(_pair(*sides))
        if _names_cases(tried[-1][0]):
            return tried[-1]
    return max(tried, key=lambda each: len(each[0].pairs))


def _shared_outcomes(before: _Folded, after: _Folded) -> Sequence[str]:
    """Outcomes that both sides have, if some file counts an outcome that the others lack; else none."""
    others = {name for outcomes in after.outcomes for name in outcomes}
    shared = dict.fromkeys(name for outcomes in before.outcomes for name in outcomes if name in others)
    files = (*before.outcomes, *after.outcomes)
    is_same = all(next((name for name in shared if name in each), each[0]) == each[0] for each in files)
    return () if is_same else list(shared)


def _names_cases(pairing: Pairing) -> bool:
    """Whether half of the smaller run has a counterpart, and no name has several rows without a repeat number."""
    runs = (pairing.baseline, pairing.candidate)
    fewest = min(len(run.cases) for run in runs)
    shared = len(pairing.pairs) + len(pairing.unpaired.unscored)
    is_unique = not any(case.has_unnamed_repeats for run in runs for case in run.cases.values())
    return is_unique and shared >= _ENOUGH_IN_COMMON * fewest


def _pair(before: _Folded, after: _Folded) -> tuple[Pairing, ArmSource, ArmSource]:
    names = [set(each.variants) for each in (before, after)]
    is_kept = all(len(each) > 1 for each in names) and bool(names[0] & names[1])
    runs = [each.run(keep_variants=is_kept) for each in (before, after)]
    if runs[0].cases.keys().isdisjoint(runs[1].cases):
        bare = [_without_tasks(run) for run in runs]
        is_unique = all(len(each.cases) == len(run.cases) for each, run in zip(bare, runs, strict=True))
        runs = bare if is_unique else runs
    return pair_runs(*runs), before.source, after.source


def _without_tasks(run: Run) -> Run:
    """*run* by case id alone, since the name of a suite may differ between runs or be missing."""
    bare = {key: CaseKey("", key.case_id) for key in run.cases}
    return Run(run.model, {bare[key]: structs.replace(case, key=bare[key]) for key, case in run.cases.items()})


class _Folded:
    """
    The cases of one model in several files; if no model is given, the files may hold only one.

    Attributes:
        variants: Cases by prompt, or by file if they name no task.
        case_columns: Columns that may name the case in every file.
        outcomes: Fields that may hold the outcome, by file, the one that counts first.
        highest: The highest score.
        source: Source of the cases.
    """

    def __init__(self, side: Side, results: Sequence[ResultFile]) -> None:
        models = sorted({attempt.model for result in results for attempt in result.attempts})
        model, chosen = side.model, None
        if model is None and len(models) == 1:
            model = models[0]
        if model is not None and model not in models and model.endswith("]"):
            model, _, chosen = model[:-1].partition(" [")
        variants: dict[str, CaseFold] = defaultdict(CaseFold)
        prompts = set()
        for result in results:
            stem = _REPEAT.sub("", PurePath(result.name).name.partition(".")[0]) if len(results) > 1 else ""
            for attempt in (each for each in result.attempts if each.model == model):
                variant = attempt.variant or ("" if attempt.key.task else stem)
                if chosen in {None, variant}:
                    variants[variant].add(attempt)
                    prompts.add(attempt.variant)
        if not variants or model is None:
            names = some_of([each or "(no name)" for each in models], _SHOWN)
            what = "several models" if side.model is None else f"no model {side.model}"
            raise UsageError(f"{side.path} has {what}; choose one with {side.option}: {names}.")
        self._model = model
        self.variants = {variant: fold.cases for variant, fold in variants.items()}
        columns = [result.case_columns for result in results]
        self.case_columns = [name for name in columns[0] if all(name in each for each in columns)]
        self.outcomes = [result.outcomes for result in results if result.outcomes]
        self.highest = max(result.highest for result in results)
        label = model or PurePath(side.path).name or side.path
        notes = [note for result in results for note in result.notes]
        if len(prompts) > 1:
            example = f"{side.option} '{model} [{min(prompts)}]'"
            notes.append(f"{len(prompts)} prompts are pooled ({', '.join(sorted(prompts))}); {example} takes one.")
        self.source = ArmSource(
            label if chosen is None else f"{label} [{chosen}]",
            [result.name for result in results],
            list(dict.fromkeys(result.format.value for result in results)),
            list(dict.fromkeys(notes)),
        )

    def run(self, *, keep_variants: bool) -> Run:
        """One run of all variants; with *keep_variants*, a case with another prompt or file is another case."""
        if len(self.variants) == 1:
            return Run(self._model, next(iter(self.variants.values())))
        cases: dict[CaseKey, Case] = {}
        for variant, of_variant in self.variants.items():
            for key, case in of_variant.items():
                name = CaseKey(key.task or variant, key.case_id) if keep_variants else key
                named = structs.replace(case, key=name)
                cases[name] = merged(cases[name], named) if name in cases else named
        return Run(self._model, cases)


def reference_runs(results: Sequence[ResultFile]) -> Mapping[str, Run]:
    """
    Every run of *results* by model, in the order given; a file without a model is a run of its own.
    """
    by_model: dict[str, dict[CaseKey, Case]] = defaultdict(dict)
    for result in results:
        for model, run in runs_of(result.attempts).items():
            by_model[model or result.name].update(run.cases)
    return {name: Run(name, cases) for name, cases in by_model.items()}
