"""
The largest numbers that are read, in any format.

A billion of the largest add up to less than 2^63 in the ledger's units, so sums cannot overflow.
"""

from __future__ import annotations

from datetime import UTC, datetime

EARLIEST, BEFORE = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2000, 2100))
"""Bounds on the times of events, in Unix seconds; the second is excluded."""

MOST_COUNTED = 10**9
"""Tokens, steps, calls and messages of one run."""

MOST_COST_USD = 1_000_000.0
"""Cost of one run."""

LONGEST_RUN_SECONDS = 31 * 86_400.0
"""Longest time from the start of a run to its end."""

LARGEST_NUMBER = 1e30
"""Largest absolute value of an attribute or a score; the squares of a billion of them have a finite sum."""

LEAST_CHANCE = 1e-6
"""Smallest sampling probability of a label; its reciprocal is the weight of the label."""

MOST_LABEL_CHARACTERS, MOST_IDENTIFIER_CHARACTERS = 128, 256
"""Longest name of a service, version or tier, which become labels of metrics; and longest id."""

MOST_ATTRIBUTES, MOST_ATTRIBUTE_CHARACTERS = 64, 128
"""Most attributes of one request, and most characters of a name or a text among them."""
