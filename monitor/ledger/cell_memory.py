"""Reads the cells of a version for a review, and caches those of whole hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import add, attrgetter
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.tiers import Tier
from monitor.labels.source_verdicts import PatternCount
from monitor.ledger.cells import KEY, SUMS
from monitor.ledger.schema import stratum
from monitor.ledger.stored import readable
from monitor.rollout import cohort as arms

CELL = (*KEY, *SUMS)
"""Columns of a cell."""

Columns = Mapping[str, Sequence[Any]]
"""Values of several rows, by column."""

_MOST = 1e100  # the square of a greater sum could overflow to infinity
_ROUNDING = 1e-6  # rounding may leave a sum this far below 0 after every request is subtracted again
_TIERS = {str(tier): tier for tier in Tier}  # a lookup here is several times faster than a call of `Tier`

_Kind = tuple[int, Tier, str, int, bool]
"""Hour, tier, capability, bin, and whether the calibration knows such requests."""


def _stratum(kind: _Kind, sums_of: Sequence[tuple[str, Sequence[Any]]]) -> arms.Stratum:
    """A stratum from its sums by verdict pattern."""
    hour, tier, capability, number, is_known = kind
    totals = sums_of[0][1] if len(sums_of) == 1 else [*map(sum, zip(*(sums for _, sums in sums_of), strict=True))]
    n, labelled, failures, logits, variances, *_ = totals
    patterns = [PatternCount(pattern, *sums[:3], *sums[7:]) for pattern, sums in sums_of]  # skips four of `SUMS`
    return arms.Stratum(tier, capability, number, is_known, n, labelled, failures, logits, variances, hour, patterns)


@dataclass(frozen=True, eq=False)
class Cells:
    """
    Cells of one version in some hours.

    Attributes:
        columns: Values of all cells, by column; two cells may have the same key.
        strata: Cache of `by_stratum`: the latest view of each source of tiers, and its strata.
    """

    columns: Columns
    strata: dict[arms.TiersBy, tuple[arms.TierView, Sequence[arms.Stratum]]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[sa.Row[Any]]) -> Cells:
        columns = columns_of(CELL, rows)
        if not all(_is_sound(*column) for column in columns.items()):  # check cell by cell only if a column is bad
            columns = columns_of(CELL, [*readable("stratum", rows, _checked)])
        return cls(columns)

    def by_stratum(self, view: arms.TierView) -> Sequence[arms.Stratum]:
        """Sum the cells that fall into the same stratum of *view*."""
        cached_view, strata = self.strata.get(view.tiers_by, (None, ()))
        if cached_view != view:
            columns, by_kind = self.columns, dict[_Kind, dict[str, Sequence[float]]]()
            names = (columns[name] for name in ("capability", "bin", "is_known"))
            kinds = zip(columns["hour"], tiers_of(view, columns), *names, strict=True)
            sums = zip(*(columns[name] for name in SUMS), strict=True)
            for kind, pattern, added in zip(kinds, columns["said"], sums, strict=True):
                by_pattern = by_kind.setdefault(kind, {})
                total = by_pattern.get(pattern)
                by_pattern[pattern] = added if total is None else [*map(add, total, added)]
            strata = [_stratum(kind, sorted(by_kind[kind].items())) for kind in sorted(by_kind)]
            self.strata[view.tiers_by] = view, strata
        return strata


class CellMemory:
    """
    Caches the cells of whole hours until a write changes them.

    Args:
        is_only_writer: Whether no other process can write to the ledger, because it is in memory. Otherwise nothing is
            cached.
    """

    def __init__(self, *, is_only_writer: bool) -> None:
        self._is_only_writer = is_only_writer
        self._cache: dict[tuple[Any, ...], dict[int, Cells]] = {}

    def read(self, connection: sa.Connection, where: Mapping[str, Any], first: int, last: int) -> Sequence[Cells]:
        """Cells from hour *first* until *last*, in order, of the version and calibration in *where*."""
        key = (where["version_id"], where["calibration_id"], where["any_calibration"], first)
        cached = self._cache.setdefault(key, {}) if self._is_only_writer else {}
        uncached = {**where, "first": next(reversed(cached), first - 1) + 1, "last": last}
        rows = connection.execute(_CELLS, uncached).all()
        if not self._is_only_writer:
            return [Cells.of(rows)]
        cached |= {hour: Cells.of([*of_hour]) for hour, of_hour in groupby(rows, attrgetter("hour"))}
        return [cells for hour, cells in cached.items() if hour < last]

    def invalidate(self, version_id: int, hour: int) -> None:
        """Drop the cells of a version from *hour* on."""
        for (version, *_), cached in self._cache.items():
            while version == version_id and cached and next(reversed(cached)) >= hour:
                cached.popitem()

    def clear(self) -> None:
        """Drop all cells."""
        self._cache.clear()


def columns_of(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Columns:
    """Transpose *rows* into columns; without rows, every column is empty."""
    return dict.fromkeys(names, ()) | dict(zip(names, zip(*rows, strict=True), strict=False))


def of_version(table: sa.Table, select: sa.Select[Any]) -> sa.Select[Any]:
    """Filter *select* by the parameters `version_id` and `calibration_id`; `any_calibration` skips the latter."""
    return select.where(table.c.model_version_id == sa.bindparam("version_id")).where(
        sa.or_(
            sa.bindparam("any_calibration", type_=sa.Boolean),
            table.c.calibration_id == sa.bindparam("calibration_id", type_=sa.Text),
        )
    )


_CELLS = (
    of_version(stratum, sa.select(*(stratum.c[name] for name in CELL)))
    .where(stratum.c.hour >= sa.bindparam("first"), stratum.c.hour < sa.bindparam("last"))
    .order_by(stratum.c.hour)
)


def tiers_of(view: arms.TierView, columns: Columns) -> Sequence[Tier]:
    """The tier of each cell in *columns*."""
    if view.tiers_by is arms.TiersBy.NONE:
        return [Tier.UNTIERED] * len(columns["tier"])
    if view.tiers_by is arms.TiersBy.CLASS:
        classes = zip(columns["capability"], columns["tool_set"], strict=True)
        return [view.class_tiers.get(name, Tier.UNTIERED) for name in classes]
    column = columns["tier" if view.tiers_by is arms.TiersBy.LEARNT else "declared_tier"]
    return [_TIERS.get(tier, Tier.UNTIERED) for tier in column]


def _is_sound(name: str, column: Sequence[Any]) -> bool:
    types = set(map(type, column))
    if name in {"tier", "declared_tier"}:
        return set(column) <= {*_TIERS, ""}
    if name.endswith("_sum"):
        least = -_MOST if name == "logit_sum" else -_ROUNDING
        return types <= {int, float} and sum(map(abs, column)) < _MOST and min(column, default=0) >= least
    return types <= {int} and min(column, default=0) >= 0 if name in {"hour", "bin", *SUMS} else types <= {str, bool}


def _checked(cell: sa.Row[Any]) -> sa.Row[Any]:
    """Return *cell*, or raise ValueError if a value is corrupt."""
    if not all(_is_sound(name, [value]) for name, value in zip(CELL, cell, strict=True)):
        raise ValueError("not a cell")
    return cell
