"""Where the ledger is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, MinLen
from typing_extensions import Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """The database, and how many different label values it admits."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    url: Annotated[
        str,
        MinLen(1),
        Doc(
            "SQLAlchemy URL: sqlite:///FILE for one replica, postgresql+psycopg://USER@HOST/DATABASE for several "
            "(a password may not stand in this file: use CLIFFWATCH_LEDGER__URL, url_file or a .pgpass file)."
        ),
    ] = field(default="sqlite:///cliffwatch.db", repr=False)
    url_file: Annotated[str, Doc("File that holds the URL instead, as secrets are mounted; empty for none.")] = ""
    max_model_versions: Annotated[
        int, Ge(2), Doc("Model versions that one service and environment may name; the rest count as `other`.")
    ] = 200
    max_capabilities: Annotated[
        int, Ge(1), Doc("Capabilities that one service may name; the rest count as `other`.")
    ] = 50
    max_failure_classes: Annotated[
        int, Ge(1), Doc("Failure classes that one service may name; the rest count as `other`.")
    ] = 50
    max_services: Annotated[int, Ge(1), Doc("Pairs of service and environment; the rest count as `other`.")] = 500
    retention_days: Annotated[
        float,
        Ge(0),
        Doc(
            "Days that a request is kept after it started and came; 0 keeps all. Counters never go down, and requests "
            "of rollouts under way and of the environments reference and probes are kept."
        ),
    ] = 90.0
    orphan_outcome_days: Annotated[
        float, Ge(0), Doc("Days that an outcome waits for its trace before it is deleted; 0 for ever.")
    ] = 14.0
    dead_letter_days: Annotated[
        float, Ge(0), Doc("Days that position, reason and hash of a dead letter are kept; 0 keeps all.")
    ] = 30.0
    max_series: Annotated[
        int,
        Ge(10_000),
        Doc(
            "Series that traffic may make on /metrics in all, counting for each name every series that it could make; "
            "beyond it new names count as `other`."
        ),
    ] = 200_000
