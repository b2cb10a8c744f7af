"""
Records with a position: what comes out of a Kafka topic or a file, in batches.

In: a topic-partition or a file. Out: `Record` values grouped in a `Poll`; dead letters on the way back.
Always: a record keeps its position; nothing here looks into the bytes; nothing here commits an offset before the
ledger has.
"""
