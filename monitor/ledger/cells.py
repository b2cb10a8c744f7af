"""Cells: the totals of the requests that share version, hour, tier, class, bin and failure class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from monitor.difficulty.tiers import Tag
from monitor.labels.source_verdicts import SourceVerdicts
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.schema import request, stratum
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.model import Outcome


class Key(NamedTuple):
    """What identifies a cell: the primary key of the table `stratum`."""

    model_version_id: int
    hour: int
    calibration_id: str
    tier: str
    declared_tier: str
    capability: str
    tool_set: str
    bin: int
    is_known: bool
    failure_class: str
    said: str


class Cell(NamedTuple):
    """
    The cell in which a recorded request counts, and what it adds there.

    Attributes:
        key: Key of the cell, with the failure class as recorded.
        success: Label of the request, or None.
        looked: One over the probability that a judge, a report or a person looks at the request; 0 if none did.
        audited: One over the probability that a person looks at it; 0 if none did.
    """

    key: Key
    success: bool | None
    logit: float
    variance: float
    is_clustered: bool
    looked: float
    audited: float

    @property
    def sums(self) -> tuple[float, ...]:
        """What the request adds to the columns `SUMS` of its cell."""
        labelled, failed = int(self.success is not None), int(self.success is False)
        clustered = (labelled, failed) if self.is_clustered else (0, 0)
        weights = (self.looked, self.looked**2, self.audited, self.audited**2)
        return (1, labelled, failed, self.logit, self.variance, *clustered, *weights)

    def labelled(self, label: Outcome | None, said: SourceVerdicts) -> Cell:
        """The cell in which it counts with *label*, and with the verdicts *said* by each kind of source."""
        failure_class = (label.failure_class or "") if label is not None and not label.success else ""
        return self._replace(
            key=self.key._replace(failure_class=failure_class, said=said.pattern),
            success=None if label is None else label.success,
            looked=said.label_weight,
            audited=said.audit_weight,
        )

    def tagged(self, tag: Tag) -> Cell:
        """The cell in which it counts under another tag."""
        key = self.key._replace(calibration_id=tag.calibration_id, tier=tag.tier, bin=tag.bin, is_known=tag.is_known)
        return self._replace(key=key, logit=tag.difficulty_logit, variance=tag.difficulty_variance)


CELL_COLUMNS = (
    *request.c["model_version_id", "started_at", "capability", "tool_set", "declared_tier", "cluster"],
    *request.c["calibration_id", "tier", "bin", "is_known", "difficulty_logit", "difficulty_variance"],
    *request.c["success", "failure_class", "said", "looked", "audited"],
)
"""Columns that `cell_of` reads."""


def cell_of(row: Any) -> Cell:
    """The cell of a row of `request` that has `CELL_COLUMNS` and a model version."""
    key = Key(
        row.model_version_id,
        int(row.started_at // HOUR_SECONDS),
        row.calibration_id,
        row.tier,
        row.declared_tier or "",
        row.capability,
        class_tools(row.capability, row.tool_set),
        row.bin,
        bool(row.is_known),
        (row.failure_class or "") if row.success is not None and not row.success else "",
        row.said or "",
    )
    success, weights = None if row.success is None else bool(row.success), (row.looked or 0.0, row.audited or 0.0)
    is_clustered = row.cluster is not None and row.cluster >= 0
    return Cell(key, success, row.difficulty_logit, row.difficulty_variance, is_clustered, *weights)


def class_tools(capability: str, tool_set: str | None) -> str:
    """The tool set, which serves as the class of requests without a capability; empty for all others."""
    return (tool_set or "") if capability == UNCLASSIFIED else ""


KEY = tuple(name for name in Key._fields if name != "model_version_id")
_WEIGHTS = ("looked_sum", "looked_squares_sum", "audited_sum", "audited_squares_sum")
SUMS = ("requests", "labelled", "failures", "logit_sum", "variance_sum", "clustered", "clustered_failures", *_WEIGHTS)
"""The key columns of `stratum` within a version, and the columns that are summed."""

_ONE = sa.literal_column("1", sa.BigInteger)
_NONE = sa.literal_column("0", sa.BigInteger)
_NO_WEIGHT = sa.literal_column("0.0", sa.Double)
_NO_TEXT = sa.literal_column("''", sa.Text)
_LABELLED = sa.case((request.c.success.is_not(None), _ONE), else_=_NONE)
_FAILED = sa.case((request.c.success.is_(False), _ONE), else_=_NONE)
_TOOL_SET = sa.case(
    (request.c.capability == sa.literal_column(f"'{UNCLASSIFIED}'"), sa.func.coalesce(request.c.tool_set, _NO_TEXT)),
    else_=_NO_TEXT,
).label("tool_set")


def one_request(hour: sa.ColumnElement[int]) -> Iterable[sa.ColumnElement[Any]]:
    """`KEY` and `SUMS` of one row of `request` that started in *hour*."""
    columns = request.c
    looked, audited = (sa.func.coalesce(weight, _NO_WEIGHT) for weight in (columns.looked, columns.audited))
    weights = zip(_WEIGHTS, (looked, looked * looked, audited, audited * audited), strict=True)
    is_clustered = columns.cluster >= 0
    failure_class = sa.func.coalesce(columns.failure_class, _NO_TEXT)
    return (
        hour.label("hour"),
        columns.calibration_id,
        columns.tier,
        sa.func.coalesce(columns.declared_tier, _NO_TEXT).label("declared_tier"),
        columns.capability,
        _TOOL_SET,
        columns.bin,
        columns.is_known,
        sa.case((columns.success.is_(False), failure_class), else_=_NO_TEXT).label("failure_class"),
        sa.func.coalesce(columns.said, _NO_TEXT).label("said"),
        _ONE.label("requests"),
        _LABELLED.label("labelled"),
        _FAILED.label("failures"),
        columns.difficulty_logit.label("logit_sum"),
        columns.difficulty_variance.label("variance_sum"),
        sa.case((is_clustered, _LABELLED), else_=_NONE).label("clustered"),
        sa.case((is_clustered, _FAILED), else_=_NONE).label("clustered_failures"),
        *(weight.label(name) for name, weight in weights),
    )


def summed(rows: sa.Subquery, by: Sequence[str], sums: Sequence[str]) -> sa.Select[Any]:
    """Sum the columns *sums* of *rows*, grouped by the columns *by*."""
    keys = [rows.c[name] for name in by]
    # In PostgreSQL the sum of a bigint column is a numeric.
    added = (sa.cast(sa.func.sum(rows.c[name]), stratum.c[name].type).label(name) for name in sums)
    return sa.select(*keys, *added).group_by(*keys)
