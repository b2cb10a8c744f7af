"""
The running service: connects the stages.

In: records from a source. Out: an up-to-date ledger, verdicts, and the snapshot for the next scrape.
Always: a batch and its offsets are written in one transaction; an outage pauses reading and loses nothing.
"""
