"""
The status page, for those without Grafana.

In: a `Snapshot`. Out: one HTML document, with no script and nothing to load.
Always: everything that came from outside is escaped; the numbers are those of `rollout_json`.
"""
