"""
The ledger: one row per request, and the next offset of every partition, written in one transaction.

In: tagged traces, outcomes, dead letters, offsets. Out: counts and cohorts, on query.
Always: a batch is recorded whole or not at all; a record that arrives twice counts once; an owner that lost its
partition changes nothing (`OffsetFenced`).
"""
