"""What one record said, and what of it was left aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from monitor.trace.model import OutcomeEvent, Trace
from monitor.trace.span import Span


class Ignored(StrEnum):
    """What was left aside or mended in a record that was read; a label value of a counter."""

    RECORD_SILENT = "record_silent"
    """A record that can be read and holds nothing: a request without a span or log record."""
    SPAN_INVALID = "span_invalid"
    """A span without ids or with an impossible time."""
    SPAN_IRRELEVANT = "span_irrelevant"
    """A span of the application of which only its place is read: no agent's work, no root, no word for Cliffwatch."""
    LOG_IRRELEVANT = "log_irrelevant"
    """A log record that carries no evaluation."""
    EVALUATION_UNLINKED = "evaluation_unlinked"
    """An evaluation that names no trace."""
    EVALUATION_UNMAPPED = "evaluation_unmapped"
    """An evaluation of which no rule says whether it is a success."""
    ATTRIBUTE_CUT = "attribute_cut"
    """An attribute longer than the limit."""
    ATTRIBUTE_EXCESS = "attribute_excess"
    """An attribute above the limit of their number."""
    LABEL_MENDED = "label_mended"
    """A text that had to be changed to be a metric label."""
    CLOCK_SKEWED = "clock_skewed"
    """A time ahead of its arrival, taken as the arrival; a span that is dated days ahead is left out."""

    NOT_ALLOWED = "not_allowed"
    """A trace, span or outcome that the rules of its topic do not allow."""


class Decoded(Struct, frozen=True, gc=False):
    """
    What one record said: any number of finished traces, of outcomes, and of spans of traces still to be assembled.

    Of the spans that a record holds, each is either in *spans* or counted in *ignored* as invalid or irrelevant; of the
    evaluations, each is either in *outcomes* or counted as unlinked or unmapped. A record that holds nothing is counted
    as silent, so that each one says something.
    """

    traces: Sequence[Trace] = ()
    outcomes: Sequence[OutcomeEvent] = ()
    spans: Sequence[Span] = ()
    ignored: Mapping[Ignored, int] = {}
