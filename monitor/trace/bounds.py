"""
How large a number may be, whatever format it came in.

A billion of the largest still add up to less than 2^63 in the ledger's units: durations and costs are kept as whole
seconds or dollars beside the rest, and everything else as it is.
"""

from __future__ import annotations

from datetime import UTC, datetime

EARLIEST, BEFORE = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2000, 2100))
"""Times of events, Unix seconds: not before the first, and before the second."""

MOST_COUNTED = 10**9
"""Tokens, steps, calls and messages of one run."""

MOST_COST_USD = 1_000_000.0
"""Cost of one run."""

LONGEST_RUN_SECONDS = 31 * 86_400.0
"""From the start of a run to its end."""

LARGEST_NUMBER = 1e30
"""Size of an attribute or a score, either way from 0; the squares of a billion of them still have a finite sum."""

LEAST_CHANCE = 1e-6
"""Smallest probability with which a label may have been asked for: one over it is the weight of the label."""

MOST_LABEL_CHARACTERS, MOST_IDENTIFIER_CHARACTERS = 128, 256
"""Of a service, version, tier and the like, which become labels of metrics; and of an id."""

MOST_ATTRIBUTES, MOST_ATTRIBUTE_CHARACTERS = 64, 128
"""Attributes of one request, and characters of a name or a text among them."""
