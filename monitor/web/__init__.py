"""
HTTP: metrics, health, the status page and the JSON API, from the last published snapshot.

Always: a request uses neither Kafka nor a model, and only the pages and routes of one rollout read the ledger.
"""
