"""
Difficulty of requests, predicted from what is known before the model answers.

In: a `Request`. Out: a `Tag` (tier, difficulty logit, calibration id). Learns from labelled requests of established
versions only.
Always: pure; a tag never depends on the outcome of the request that it tags; a frozen calibration never changes.
"""
