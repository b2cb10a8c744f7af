"""
The status page, for those without Grafana: an overview, a page per rollout and its cases.

In: a `Snapshot`, and what the ledger remembers of one rollout. Out: HTML that needs no script and loads nothing.
Always: everything that came from outside is escaped; the numbers are those of `rollout_json`; what is not known is said
so; no verdict is shown by colour alone.
"""
