from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from monitor.trace.model import UNRESOLVED, ModelVersion, Outcome, Trace, VersionBy
from monitor.trace.served import Served, ServedModels, taught_by
from tests.builders import NOON, a_trace

HOUR = 3_600.0


def served(requested: str, version: str, first: float = NOON - HOUR, last: float = NOON) -> Served:
    return Served("shop", "production", requested, version, first, last)


def asked_for(model: str | None, *, failed: bool = True, **facts: Any) -> Trace:
    """A run that names only the model that it asked for."""
    outcome = Outcome(success=not failed, source="status", labelled_at=NOON)
    run = a_trace("t", started_at=NOON, outcome=outcome, **facts)
    version = ModelVersion(model or UNRESOLVED)
    return replace(run, model_version=version, requested_model=model, version_by=VersionBy.REQUEST)


PINNED = served("m-2024-08-06", "m-2024-08-06")
ALIAS = served("m", "m-2024-08-06")
LATER = served("m", "m-2025-01-01", NOON - 60)


@pytest.mark.parametrize(
    ("rows", "run", "expected"),
    [
        pytest.param([ALIAS], asked_for("m"), ("m-2024-08-06", VersionBy.SERVED), id="served under that name"),
        pytest.param([ALIAS], asked_for(None), ("m-2024-08-06", VersionBy.SERVED), id="no name, one version"),
        pytest.param([ALIAS, LATER], asked_for("m"), (UNRESOLVED, VersionBy.NOTHING), id="two under one name"),
        pytest.param(
            [served("m", "m-1", NOON - 9 * HOUR, NOON - 2 * HOUR), LATER],
            asked_for("m"),
            ("m-2025-01-01", VersionBy.SERVED),
            id="the one before was served long ago",
        ),
        pytest.param(
            [served("m", "m-1", NOON - 99 * HOUR, NOON - 50 * HOUR)],
            asked_for("m"),
            ("m-1", VersionBy.SERVED),
            id="nothing was served for days",
        ),
        pytest.param([PINNED], asked_for("m"), ("m-2024-08-06", VersionBy.SERVED), id="an alias of what is served"),
        pytest.param(
            [served("", "m-2024-08-06")], asked_for("m"), ("m-2024-08-06", VersionBy.SERVED), id="no name on answers"
        ),
        pytest.param([served("m", "m"), ALIAS], asked_for("m"), ("m-2024-08-06", VersionBy.SERVED), id="answers win"),
        pytest.param([ALIAS], asked_for("other"), (UNRESOLVED, VersionBy.NOTHING), id="a name that never answered"),
        pytest.param(
            [served("gpt-4o-mini", "gpt-4o-mini-2024-07-18")],
            asked_for("gpt-4o"),
            (UNRESOLVED, VersionBy.NOTHING),
            id="another model whose name begins alike",
        ),
        pytest.param(
            [PINNED], asked_for("m-latest"), ("m-2024-08-06", VersionBy.SERVED), id="the latest of what is served"
        ),
        pytest.param([ALIAS], asked_for("n-latest"), (UNRESOLVED, VersionBy.NOTHING), id="the latest of another model"),
        pytest.param([ALIAS], asked_for("gate/M"), ("m-2024-08-06", VersionBy.SERVED), id="by way of a gateway"),
        pytest.param(
            [served("gate/m", "m-2024-08-06")], asked_for("m"), ("m-2024-08-06", VersionBy.SERVED), id="past a gateway"
        ),
        pytest.param([PINNED], asked_for("new"), ("new", VersionBy.REQUEST), id="names are versions here"),
        pytest.param([], asked_for("m", failed=False), ("m", VersionBy.REQUEST), id="a success tells its name"),
        pytest.param([], asked_for("m"), (UNRESOLVED, VersionBy.NOTHING), id="a failure of nothing known"),
        pytest.param([], asked_for(None, failed=False), (UNRESOLVED, VersionBy.NOTHING), id="no name, nothing known"),
        pytest.param(
            [ALIAS], asked_for("m", environment="staging"), (UNRESOLVED, VersionBy.NOTHING), id="another environment"
        ),
    ],
)
def test_run_counts_for_what_its_service_is_served(rows: list[Served], run: Trace, expected: tuple[str, str]) -> None:
    """Under the name that it asked for, around its time; for nothing where that is not one version."""
    resolved = ServedModels(rows, HOUR).resolve(run, is_last_chance=True)

    assert resolved is not None
    assert expected == (resolved.model_version, resolved.version_by)


def test_run_waits_for_an_answered_call_while_it_may() -> None:
    """What is not known yet may be told by the next run; what is known waits for nothing."""
    models = ServedModels([ALIAS], HOUR)

    assert models.resolve(asked_for("other"), is_last_chance=False) is None
    assert models.resolve(asked_for("m"), is_last_chance=False) is not None


def test_version_that_somebody_told_stays() -> None:
    """Only runs that name no version are looked up."""
    told = a_trace("t")

    assert told is ServedModels([ALIAS], HOUR).resolve(told, is_last_chance=False)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([ALIAS], "m-2024-08-06"),
        ([ALIAS, served("m", "m")], "m-2024-08-06"),
        ([ALIAS, LATER], UNRESOLVED),
        ([served("m", "m")], "m"),
        ([PINNED], "m"),
        ([served("m", "other")], "m"),
        ([ALIAS, served("m", "m-mini-2024-07-18")], "m-2024-08-06"),
        ([served("m", "m.1"), served("m", "m-5-20250929")], "m"),
        ([served("m", "m-001")], "m-001"),
        ([served("m", "m-08-2024")], "m-08-2024"),
        ([served("m", "m-exp-03-25")], "m-exp-03-25"),
        ([served("m", "m-235b")], "m"),
        ([], "m"),
    ],
)
def test_an_alias_that_is_repeated_is_no_second_version(rows: list[Served], expected: str) -> None:
    """LangChain names what was asked for where it streams, and what answered where it does not."""
    streamed = replace(asked_for("m", failed=False), version_by=VersionBy.RESPONSE)

    resolved = ServedModels(rows, HOUR).resolve(streamed, is_last_chance=False)

    assert resolved is not None
    assert expected == resolved.model_version


def test_runs_of_one_batch_teach_each_other() -> None:
    """The answered call may be in the same batch as the one that failed."""
    answered = replace(a_trace("t", model_version="m-1"), version_by=VersionBy.RESPONSE, requested_model="m")

    resolved = ServedModels([], HOUR).and_taught_by([answered]).resolve(asked_for("m"), is_last_chance=False)

    assert resolved is not None
    assert resolved.model_version == "m-1"


@pytest.mark.parametrize(
    ("rows", "failed", "expected"),
    [
        pytest.param([], "m", "m", id="a name under which others answered"),
        pytest.param([], "new", "new", id="names are versions here, and a new one only fails"),
        pytest.param([ALIAS], "m", "m-2024-08-06", id="what is known of the name goes before"),
        pytest.param([served("x", "x-1")], "m", "m", id="another name answers as something else"),
        pytest.param([served("x", "x-1")], "new", UNRESOLVED, id="names are no versions here"),
    ],
)
def test_names_that_are_all_that_will_be_told_teach_in_the_end(rows: list[Served], failed: str, expected: str) -> None:
    """Where no call tells which model answered, those that did not fail say what there is."""
    runs = [asked_for("m", failed=False), asked_for(failed)]

    resolved = ServedModels(rows, HOUR).and_asked_for_by(runs).resolve(runs[1], is_last_chance=True)

    assert resolved is not None
    assert expected == resolved.model_version


def test_only_what_was_answered_or_asked_for_teaches() -> None:
    """Neither what the sender names nor what was looked up says anything of names."""
    runs = [replace(a_trace("t"), version_by=by, requested_model="m") for by in VersionBy]

    assert {("shop", "production", "m", "model-1"): (NOON, NOON)} == taught_by(runs)
