"""
Metrics for Prometheus.

In: the latest published `Snapshot`. Out: metric families as text.
Always: a scrape queries neither database nor model and shows only committed totals; an unknown number is a missing
series, never NaN or zero.
"""
