"""
Metrics: what Prometheus scrapes.

In: the last committed `Snapshot`. Out: metric families as text.
Always: a scrape reads neither database nor model and shows only what is committed; a number that is not known is a
missing series, never NaN and never a made-up zero.
"""
