"""Which runs are meant, among those that files hold, and under which names their cases meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import msgspec

from monitor.errors import UsageError
from monitor.evals.cases import Attempt, CaseKey, Run, runs_of
from monitor.evals.formats.reading import Options, ResultFile
from monitor.evals.pairing import Pairing, pair_runs
from monitor.evals.report import ArmSource

_ENOUGH_IN_COMMON = 0.5
_FEWEST_VARIANTS = 2


@dataclass(frozen=True, slots=True)
class Side:
    """
    What was named as one side of a comparison.

    Attributes:
        path: What was named.
        model: Which model is meant, or None where there is only one; `model [prompt]` for one of its prompts.
        option: How to name a model, for messages.
    """

    path: str
    model: str | None
    option: str


ReadSide = Callable[[Side, Options], Sequence[ResultFile]]


def paired(before: Side, after: Side, read: ReadSide, options: Options) -> tuple[Pairing, ArmSource, ArmSource]:
    """
    Both runs beside each other, by the first column that names the cases of both.

    An id that each run draws anew pairs nothing, and one that stands for many rows names a group: then the next column
    that may name a case is tried.

    Raises:
        UsageError: there is no such run, or several and none was named.
    """
    tried: list[tuple[Pairing, ArmSource, ArmSource]] = []
    columns: Sequence[str | None] = [None]
    while len(tried) < len(columns):
        column = columns[len(tried)]
        asked = options if column is None else replace(options, columns={**options.columns, "case": column})
        results = [read(side, asked) for side in (before, after)]
        if column is None:
            files = [file for each in results for file in each]
            shared = [name for name in files[0].case_columns if all(name in file.case_columns for file in files)]
            columns = [None, *(name for name in shared if name != files[0].case_columns[0])]
        tried.append(_pair((before, after), results))
        if _names_cases(tried[-1][0]):
            return tried[-1]
    return max(tried, key=lambda each: len(each[0].pairs))


def _names_cases(pairing: Pairing) -> bool:
    """Half of the smaller run has a counterpart, and no name stands for rows that nothing tells apart."""
    runs = (pairing.baseline, pairing.candidate)
    fewest = min(len(run.cases) for run in runs)
    shared = len(pairing.pairs) + len(pairing.unpaired.unscored)
    is_unique = not any(case.has_unnamed_repeats for run in runs for case in run.cases.values())
    return is_unique and shared >= _ENOUGH_IN_COMMON * fewest


def _pair(sides: tuple[Side, Side], results: Sequence[Sequence[ResultFile]]) -> tuple[Pairing, ArmSource, ArmSource]:
    found = [_Attempts(side, files) for side, files in zip(sides, results, strict=True)]
    names = [each.variants() for each in found]
    is_kept = all(len(each) >= _FEWEST_VARIANTS for each in names) and bool(names[0] & names[1])
    before, after = (each.run(keep_variants=is_kept) for each in found)
    return pair_runs(before, after), found[0].source(before), found[1].source(after)


class _Attempts:
    """The attempts of one model among files; where it is not said which model, the files may hold only one."""

    def __init__(self, side: Side, results: Sequence[ResultFile]) -> None:
        self._side = side
        self._results = results
        models = sorted({attempt.model for result in results for attempt in result.attempts})
        asked = side.model
        self._variant: str | None = None
        if asked is None and len(models) == 1:
            asked = models[0]
        if asked is not None and asked not in models and asked.endswith("]"):
            asked, _, variant = asked[:-1].partition(" [")
            self._variant = variant
        if asked not in models or not list(self._chosen(asked)):
            names = ", ".join(model or "(no name)" for model in models)
            what = "several models" if side.model is None else f"no model {side.model}"
            raise UsageError(f"{side.path} has {what}; choose one with {side.option}: {names}.")
        self._model = asked

    def _chosen(self, model: str) -> Iterator[tuple[str, Attempt]]:
        for result in self._results:
            stem = PurePath(result.name).name.partition(".")[0] if len(self._results) > 1 else ""
            for attempt in result.attempts:
                variant = attempt.variant or ("" if attempt.key.task else stem)
                if attempt.model == model and self._variant in {None, variant}:
                    yield variant, attempt

    def variants(self) -> set[str]:
        """Prompts that the cases were asked with, or files that hold cases without a task."""
        return {variant for variant, _ in self._chosen(self._model)}

    def run(self, *, keep_variants: bool) -> Run:
        """All of them as one run; with *keep_variants*, a case is one with each prompt, or in each file."""
        attempts = self._chosen(self._model)
        if keep_variants:
            named = (msgspec.structs.replace(each, key=_within(each.key, name)) for name, each in attempts)
            return runs_of(named)[self._model]
        return runs_of(attempt for _, attempt in attempts)[self._model]

    def source(self, run: Run) -> ArmSource:
        """Where *run* came from."""
        prompts = sorted({attempt.variant for _, attempt in self._chosen(self._model) if attempt.variant})
        notes = [note for result in self._results for note in result.notes]
        if len(prompts) > 1:
            example = f"{self._side.option} '{self._model} [{prompts[0]}]'"
            notes.append(f"{len(prompts)} prompts are pooled ({', '.join(prompts)}); {example} takes one.")
        label = run.model or PurePath(self._side.path).name or self._side.path
        return ArmSource(
            label if self._variant is None else f"{label} [{self._variant}]",
            [result.name for result in self._results],
            list(dict.fromkeys(result.format.value for result in self._results)),
            list(dict.fromkeys(notes)),
        )


def _within(key: CaseKey, variant: str) -> CaseKey:
    return CaseKey(key.task or variant, key.case_id)


def reference_runs(results: Sequence[ResultFile]) -> Mapping[str, Run]:
    """
    Every run of *results* by model, in the order in which they were named; a file without a model is one by itself.
    """
    found: dict[str, Run] = {}
    for result in results:
        for model, run in runs_of(result.attempts).items():
            name = model or result.name
            cases = found[name].cases if name in found else {}
            found[name] = Run(name, {**cases, **run.cases})
    return found
