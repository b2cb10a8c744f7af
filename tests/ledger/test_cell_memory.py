from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.difficulty.tiers import Tier
from monitor.ledger.cell_memory import CellMemory, tiers_of
from monitor.ledger.schema import stratum
from monitor.rollout.cohort import TiersBy, TierView

WHERE = {"version_id": 1, "calibration_id": "c", "any_calibration": False}


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    """Of a database with a table of cells, and one request in each of the hours 5, 6 and 8."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        stratum.create(connection)
        for hour in (5, 6, 8):
            add(connection, hour)
        yield connection
    engine.dispose()


def add(connection: sa.Connection, hour: int, **more: Any) -> None:
    zero = {column.name: column.type.python_type() for column in stratum.c}
    cell = {"model_version_id": 1, "hour": hour, "calibration_id": "c", "tier": "hard", "requests": 1, "labelled": 1}
    connection.execute(sa.insert(stratum).values({**zero, **cell, **more}))


def read(memory: CellMemory, connection: sa.Connection, first: int, last: int) -> Mapping[int, int]:
    """Requests by hour."""
    columns = [cells.columns for cells in memory.read(connection, WHERE, first, last)]
    return {hour: n for each in columns for hour, n in zip(each["hour"], each["requests"], strict=True)}


def test_hours_that_nobody_touched_are_not_read_again(connection: sa.Connection) -> None:
    """The memory misses changes that nobody reports. Once one is reported, it reads from that hour on again."""
    memory = CellMemory(is_only_writer=True)
    assert {5: 1, 6: 1, 8: 1} == read(memory, connection, 5, 9)

    connection.execute(sa.update(stratum).values(requests=2))
    assert {5: 1, 6: 1, 8: 1} == read(memory, connection, 5, 9)
    memory.invalidate(2, 5)
    assert {5: 1, 6: 1, 8: 1} == read(memory, connection, 5, 9)
    memory.invalidate(1, 6)
    assert {5: 1, 6: 2} == read(memory, connection, 5, 7)
    assert {5: 1, 6: 2, 8: 2} == read(memory, connection, 5, 9)
    memory.clear()
    assert {5: 2, 6: 2, 8: 2} == read(memory, connection, 5, 9)


def test_where_others_write_nothing_is_remembered(connection: sa.Connection) -> None:
    memory = CellMemory(is_only_writer=False)
    assert {5: 1, 6: 1} == read(memory, connection, 5, 8)

    connection.execute(sa.update(stratum).values(requests=2))
    assert {5: 2, 6: 2} == read(memory, connection, 5, 8)


@pytest.mark.parametrize("broken", [{"requests": -3}, {"logit_sum": float("inf")}, {"tier": "brutal"}], ids=str)
def test_a_cell_that_cannot_be_right_is_left_out(connection: sa.Connection, broken: Mapping[str, Any]) -> None:
    """The sound cells beside it count; what rounding leaves of a sum is no harm."""
    connection.execute(sa.update(stratum).values(variance_sum=-2e-16))
    add(connection, 9, **broken)

    assert {5: 1, 6: 1, 8: 1} == read(CellMemory(is_only_writer=False), connection, 5, 10)


@pytest.mark.parametrize(
    ("tiers_by", "tier"),
    [(TiersBy.LEARNT, Tier.HARD), (TiersBy.DECLARED, Tier.EASY), (TiersBy.CLASS, Tier.MEDIUM), (TiersBy.NONE, None)],
)
def test_a_view_chooses_what_gives_the_tier(tiers_by: TiersBy, tier: Tier | None) -> None:
    columns = {"tier": ["hard"], "declared_tier": ["easy"], "capability": ["search"], "tool_set": [""]}

    assert [tier or Tier.UNTIERED] == tiers_of(TierView(tiers_by, {("search", ""): Tier.MEDIUM}), columns)
