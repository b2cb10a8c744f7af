"""
The status page, for those without Grafana: an overview, a page per rollout and its cases.

In: a `Snapshot`, and the evidence and cases of a rollout from the ledger. Out: HTML without scripts and external files.
Always: all input is escaped; the numbers are those of `rollout_json`; unknown values are marked as such; no verdict is
shown by colour alone.
"""
