"""
Metrics: what Prometheus scrapes, and what a person reads without it.

In: the last committed `Snapshot`. Out: `/metrics`, health, a status page and JSON.
Always: a scrape touches neither database nor model; it never shows what is not committed; what is not known is a
missing series, never NaN and never a made-up zero; every number on the page is the number on `/metrics`.
"""
