"""Where the ledger is kept."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from monitor.config.settings import Settings


class LedgerSettings(Settings):
    """The database, and how many different label values it admits."""

    url: Annotated[str, MinLen(1), Field(repr=False)] = "sqlite:///cliffwatch.db"
    """
    SQLAlchemy URL: sqlite:///FILE for one replica, postgresql+psycopg://USER@HOST/DATABASE for several (a password
    does not belong in this file: use CLIFFWATCH_LEDGER__URL, url_file or a .pgpass file).
    """

    url_file: str = ""
    """File that holds the URL instead, as secrets are mounted; empty for none."""

    max_model_versions: Annotated[int, Ge(2)] = 200
    """Model versions that one service and environment may name; the rest count as `other`."""

    max_capabilities: Annotated[int, Ge(1)] = 50
    """Capabilities that one service may name; the rest count as `other`."""

    max_failure_classes: Annotated[int, Ge(1)] = 50
    """Failure classes that one service may name; the rest count as `other`."""

    max_services: Annotated[int, Ge(1)] = 500
    """Pairs of service and environment; the rest count as `other`."""

    retention_days: NonNegativeFloat = 14.0
    """
    Days to keep a request after its start and its arrival; 0 keeps all. Counters never go down, verdicts go on from
    evidence_days, and requests of the environments reference and probes are kept. A trace that comes again later is
    counted again.
    """

    evidence_days: NonNegativeFloat = 90.0
    """
    Days to keep what verdicts read (counts by hour), the labelled requests that a calibration learns from, and names
    and counters of versions that are not used; 0 keeps all. Evidence of rollouts under way is kept.
    """

    sample_per_version: NonNegativeInt = 50_000
    """Labelled requests of each model version, the latest ones, that are kept for evidence_days."""

    orphan_outcome_days: NonNegativeFloat = 14.0
    """Days that an outcome waits for its trace before it is deleted; 0 for ever."""

    dead_letter_days: NonNegativeFloat = 30.0
    """Days that position, reason and hash of a dead letter are kept; 0 keeps all."""

    max_dead_letters: Annotated[int, Ge(1)] = 200_000
    """Dead letters whose position, reason and hash are kept; beyond it the oldest of the topic that has most go."""

    max_series: Annotated[int, Ge(10_000)] = 300_000
    """
    Series that traffic may make on /metrics in all, counting for each name every series that it could make; beyond
    it new names count as `other`. Each service and environment has 2,288 set aside for its next versions.
    """
