"""
Compares the times of events with their arrival, so that one bad clock does not distort what everybody sees.

Late is normal (a backlog, a back-fill), early is not. A time slightly ahead of its arrival is set to the arrival; a run
that is dated a day or more ahead is refused, because its real time is unknown.
"""

from __future__ import annotations

from msgspec.structs import replace

from monitor.trace.model import REFERENCE_ENVIRONMENT, DropReason, InvalidRecord, Outcome, OutcomeEvent, Trace
from monitor.trace.span import Span

_DAY = 86_400.0


def held_run(run: Trace, *, arrival: float, slack_seconds: float) -> Trace:
    """
    *run* with no time ahead of its arrival; the same object if nothing has to change.

    Args:
        run: The run as decoded.
        arrival: Unix seconds.
        slack_seconds: How far ahead of its arrival a time may lie.

    Raises:
        InvalidRecord: the run is dated a day or more ahead of its arrival.
    """
    latest = arrival + slack_seconds
    if run.started_at > latest:
        run = _moved(run, arrival)
    elif run.ended_at is not None and run.ended_at > latest:
        run = replace(run, ended_at=max(run.started_at, arrival))
    outcome = None if run.outcome is None else _held(run.outcome, latest, arrival)
    return run if outcome is run.outcome else replace(run, outcome=outcome)


def held_verdict(event: OutcomeEvent, *, arrival: float, slack_seconds: float) -> OutcomeEvent:
    """*event* with no time ahead of its *arrival*, as in `held_run`."""
    outcome = _held(event.outcome, arrival + slack_seconds, arrival)
    return event if outcome is event.outcome else replace(event, outcome=outcome)


def refuse_ancient(run: Trace, *, arrival: float, most_days: float) -> None:
    """
    Refuse *run* if it is older than *most_days* at its *arrival* (Unix seconds).

    Raises:
        InvalidRecord: it is, and does not belong to the reference history.
    """
    days = (arrival - run.started_at) / _DAY
    if days > most_days and run.environment != REFERENCE_ENVIRONMENT:
        raise InvalidRecord(DropReason.CLOCK_SKEWED, f"started_at: is {days:,.0f} days old ({run.service})")


def is_far_ahead(span: Span, *, arrival: float) -> bool:
    """Whether *span* is dated a day or more ahead of its *arrival* (Unix seconds)."""
    return (span.started_at if span.ended_at is None else span.ended_at) >= arrival + _DAY


def _moved(run: Trace, arrival: float) -> Trace:
    ahead = run.started_at - arrival
    if ahead >= _DAY:
        detail = f"started_at: is {ahead / _DAY:,.0f} days ahead ({run.service})"
        raise InvalidRecord(DropReason.CLOCK_SKEWED, detail)
    return replace(run, started_at=arrival, ended_at=None if run.ended_at is None else run.ended_at - ahead)


def _held(outcome: Outcome, latest: float, arrival: float) -> Outcome:
    # The latest verdict of a source counts, so one from the future would always win.
    is_early = outcome.labelled_at is not None and outcome.labelled_at > latest
    return replace(outcome, labelled_at=arrival) if is_early else outcome
