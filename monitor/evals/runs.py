"""Which run is meant, among the runs that files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from monitor.errors import UsageError
from monitor.evals.cases import Run, runs_of
from monitor.evals.formats.reading import ResultFile
from monitor.evals.report import ArmSource


def choose_run(path: str, results: Sequence[ResultFile], *, model: str | None, option: str) -> tuple[Run, ArmSource]:
    """
    One run out of *results*, and where it came from.

    Args:
        path: What was named, for messages.
        results: What its files hold.
        model: Which model is meant, or None where there is only one.
        option: How to name a model, for messages.

    Raises:
        UsageError: there is no such run, or several and none was named.
    """
    runs = runs_of(attempt for result in results for attempt in result.attempts)
    run = _chosen(path, model, runs, option)
    notes = dict.fromkeys(note for result in results for note in result.notes)
    formats = dict.fromkeys(result.format.value for result in results)
    return run, ArmSource(
        run.model or PurePath(path).name or path, [result.name for result in results], list(formats), list(notes)
    )


def _chosen(path: str, model: str | None, runs: Mapping[str, Run], option: str) -> Run:
    if not runs:
        raise UsageError(f"{path} holds no case; run the suite again.")
    if model is None and len(runs) == 1:
        return next(iter(runs.values()))
    if model is not None and model in runs:
        return runs[model]
    names = ", ".join(name or "(no name)" for name in runs)
    asked = "several models" if model is None else f"no model {model}"
    raise UsageError(f"{path} has {asked}; choose one with {option}: {names}.")


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
