"""Settings of the ledger: its database, retention and caps."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from monitor.config.settings import Settings


class LedgerSettings(Settings):
    """The database, its retention, and its limits on label values."""

    url: Annotated[str, MinLen(1), Field(repr=False, pattern=r"^(sqlite(\+\w+)?:(///|//$)|postgresql(\+\w+)?://)")] = (
        "sqlite:///cliffwatch.db"
    )
    """
    SQLAlchemy URL: sqlite:///FILE for one replica, postgresql+psycopg://USER@HOST/DATABASE for several. Do not put a
    password into this file: use CLIFFWATCH_LEDGER__URL, url_file or a .pgpass file.
    """

    url_file: str = ""
    """File that holds the URL instead, for example a mounted secret; empty for none."""

    max_model_versions: Annotated[int, Ge(2)] = 200
    """Most model versions of one service and environment; further ones count as `other`."""

    max_capabilities: Annotated[int, Ge(1)] = 50
    """Most capabilities of one service; further ones count as `other`."""

    max_failure_classes: Annotated[int, Ge(1)] = 50
    """Most failure classes of one service; further ones count as `other`."""

    max_services: Annotated[int, Ge(1)] = 500
    """Most pairs of service and environment; further ones count as `other`."""

    retention_days: NonNegativeFloat = 14.0
    """
    Days to keep a request after its start and its arrival; 0 keeps all. Counters never go down, and verdicts continue
    from what evidence_days keeps. Requests of the environments reference and probes stay. A trace that arrives again
    after this time counts again.
    """

    evidence_days: NonNegativeFloat = 90.0
    """
    Days to keep the counts by hour that verdicts use, the labelled requests that a calibration learns from, and names
    and counters of versions that are no longer used; 0 keeps all. Evidence of rollouts under way stays.
    """

    sample_per_version: NonNegativeInt = 50_000
    """Latest labelled requests of each model version to keep for evidence_days."""

    orphan_outcome_days: NonNegativeFloat = 14.0
    """Days that an outcome waits for its trace; 0 waits for ever."""

    dead_letter_days: NonNegativeFloat = 30.0
    """Days to keep the position, reason and hash of a dead letter; 0 keeps all."""

    max_dead_letters: Annotated[int, Ge(1)] = 200_000
    """Most dead letters to remember; above this, Cliffwatch forgets the oldest ones of the topic that has most."""

    max_series: Annotated[int, Ge(10_000)] = 300_000
    """
    Most series that traffic may create on /metrics, counting every series that a name could create. Above this, new
    names count as `other`. Each service and environment reserves 2,288 series for its next versions.
    """
