"""
The running service: it puts the stages in order.

In: records of a source. Out: a ledger kept up to date, verdicts, and the snapshot that the next scrape shows.
Always: a batch and its offsets are one transaction; an outage pauses reading and loses nothing.
"""
