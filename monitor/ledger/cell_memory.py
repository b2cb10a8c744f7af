"""The cells of a version as a review reads them; those of whole hours are remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import add, attrgetter
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.tiers import Tier
from monitor.labels.said import SaidCount
from monitor.ledger.cells import KEY, SUMS
from monitor.ledger.schema import stratum
from monitor.ledger.stored import readable
from monitor.rollout import cohort as arms

CELL = (*KEY, *SUMS)
"""Columns of a cell."""

Columns = Mapping[str, Sequence[Any]]
"""Values of several rows, by column."""

_MOST, _ROUNDING = 1e100, 1e-6  # whose square is no infinity; left of a sum from which all was taken out again
_TIERS = {str(tier): tier for tier in Tier}  # several times faster than `Tier`

_Kind = tuple[int, Tier, str, int, bool]
"""Hour, tier, capability, bin, and whether known."""


def _stratum(kind: _Kind, of_said: Sequence[tuple[str, Sequence[Any]]]) -> arms.Stratum:
    hour, tier, capability, number, is_known = kind
    added = of_said[0][1] if len(of_said) == 1 else [*map(sum, zip(*(sums for _, sums in of_said), strict=True))]
    n, labelled, failures, logits, variances, *_ = added
    said = [SaidCount(words, *sums[:3], *sums[7:]) for words, sums in of_said]  # between them: clustered ones
    return arms.Stratum(tier, capability, number, is_known, n, labelled, failures, logits, variances, hour, said)


@dataclass(frozen=True, eq=False)
class Cells:
    """
    Cells of one version in some hours.

    Attributes:
        columns: Values of all cells, by column; two cells may have the same key.
        strata: The cells as strata, in the latest view of each source of tiers.
    """

    columns: Columns
    strata: dict[arms.TiersBy, tuple[arms.TierView, Sequence[arms.Stratum]]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[sa.Row[Any]]) -> Cells:
        columns = columns_of(CELL, rows)
        if not all(_is_sound(*column) for column in columns.items()):  # a review reads too many to check each cell
            columns = columns_of(CELL, [*readable("stratum", rows, _checked)])
        return cls(columns)

    def by_stratum(self, view: arms.TierView) -> Sequence[arms.Stratum]:
        """The cells as strata: those that *view* does not tell apart are added up."""
        seen_by, strata = self.strata.get(view.tiers_by, (None, ()))
        if seen_by != view:
            columns, alike = self.columns, dict[_Kind, dict[str, Sequence[float]]]()
            names = (columns[name] for name in ("capability", "bin", "is_known"))
            kinds = zip(columns["hour"], tiers_of(view, columns), *names, strict=True)
            sums = zip(*(columns[name] for name in SUMS), strict=True)
            for kind, words, added in zip(kinds, columns["said"], sums, strict=True):
                of_words = alike.setdefault(kind, {})
                have = of_words.get(words)
                of_words[words] = added if have is None else [*map(add, have, added)]
            strata = [_stratum(kind, sorted(alike[kind].items())) for kind in sorted(alike)]
            self.strata[view.tiers_by] = view, strata
        return strata


class CellMemory:
    """
    Remembers the cells of whole hours until something changes them.

    Args:
        is_only_writer: Whether no other process can write to the ledger, because it is in memory. If one can, nothing
            is remembered.
    """

    def __init__(self, *, is_only_writer: bool) -> None:
        self._is_only_writer = is_only_writer
        self._known: dict[tuple[Any, ...], dict[int, Cells]] = {}

    def read(self, connection: sa.Connection, where: Mapping[str, Any], first: int, last: int) -> Sequence[Cells]:
        """Cells from hour *first* until *last*, in order, of the version and calibration in *where*."""
        which = (where["version_id"], where["calibration_id"], where["any_calibration"], first)
        known = self._known.setdefault(which, {}) if self._is_only_writer else {}
        left = {**where, "first": next(reversed(known), first - 1) + 1, "last": last}
        rows = connection.execute(_CELLS, left).all()
        if not self._is_only_writer:
            return [Cells.of(rows)]
        known |= {hour: Cells.of([*of_hour]) for hour, of_hour in groupby(rows, attrgetter("hour"))}
        return [cells for hour, cells in known.items() if hour < last]

    def moved(self, version_id: int, hour: int) -> None:
        """Forget cells of a version from *hour* on."""
        for (version, *_), known in self._known.items():
            while version == version_id and known and next(reversed(known)) >= hour:
                known.popitem()

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()


def columns_of(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Columns:
    """*rows* by column; every column is there, even if there are no rows."""
    return dict.fromkeys(names, ()) | dict(zip(names, zip(*rows, strict=True), strict=False))


def of_version(table: sa.Table, select: sa.Select[Any]) -> sa.Select[Any]:
    """*select*, for the parameters `version_id`, and `calibration_id` or `any_calibration`."""
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
    """*cell*; raises ValueError if a value cannot be right."""
    if not all(_is_sound(name, [value]) for name, value in zip(CELL, cell, strict=True)):
        raise ValueError("not a cell")
    return cell
