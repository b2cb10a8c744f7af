"""Errors, one family per decision that the caller has to take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def printable_url(url: str) -> str:
    """
    *url* without any password, even if it is malformed: everything before its last `@` and the query are cut.

    >>> printable_url("postgres:/user:pa/ss@db:5432/cliffwatch?sslmode=require")
    '...@db:5432/cliffwatch'
    """
    before, at, place = url.rpartition("@")
    return "..." if "?" in before else f"{'...' * bool(at)}{at}{place.partition('?')[0]}"


class MonitorError(Exception):
    """Base of every error that Cliffwatch raises on purpose; its text is one sentence that says what to do next."""

    retriable = False


class ConfigInvalid(MonitorError):
    """The config file cannot be used; exit code 1."""


class UsageError(MonitorError):
    """The command cannot be run with these arguments: exit code 2."""


class RolloutUnknown(UsageError):
    """No rollout has that ID."""


class DependencyUnreachable(MonitorError):
    """A broker, database or file cannot be reached: exit code 3 at start; while running, pause and try again."""

    retriable = True


class BrokersUnreachable(DependencyUnreachable):
    """No Kafka broker answers, or none lets us in."""


class LedgerUnavailable(DependencyUnreachable):
    """The database does not answer: pause the partitions and try again."""


class LedgerInvalid(MonitorError):
    """The database answers, but has another schema or a corrupt row: stop, since a person has to act."""


class DeadLetterUnavailable(DependencyUnreachable):
    """The dead-letter topic cannot be written: keep the batch, pause and try again; nothing is dropped."""


class OffsetFenced(MonitorError):
    """Another owner moved the offset: drop the batch and never retry it. Not an outage (see `LedgerUnavailable`)."""


class CalibrationInvalid(MonitorError):
    """A stored calibration is corrupted, oversized or of another version: refuse it and keep the previous one."""


class RolloutUnderWay(MonitorError):
    """Another calibration cannot be put in force, since a rollout is judged under the present one until it ends."""


@contextmanager
def os_errors(kind: type[MonitorError], what: str, advice: str) -> Iterator[None]:
    """
    Translate an OSError into an error of *kind*.

    Args:
        kind: Class of the new error.
        what: What cannot be done, with the name of the file.
        advice: What to do next; the end of the sentence.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror}; {advice}") from error
