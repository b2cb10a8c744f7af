"""
Ingest: reads records from Kafka topics or files, in batches.

In: topic partitions or files. Out: `Record` values grouped in a `Poll`; dead letters go back to Kafka.
Always: a record keeps its position; nothing here decodes its bytes; nothing here commits an offset before the ledger
has.
"""
