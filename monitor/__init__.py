"""
Cliffwatch: a streaming monitor for LLM agents that shows what a rollout did to the hard requests.

The package reads like the trip of one agent trace, left to right:
`ingest` (records) -> `trace` (decode) -> `difficulty` (tag) -> `ledger` (one transaction) -> `rollout` (verdict)
-> `metrics` (what Prometheus scrapes). `service` wires the stages; `cli` and `config` face the person.
"""

__version__ = "0.1.0"
