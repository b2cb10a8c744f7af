"""
Rollouts: what the change of a model version did to the hard tier.

In: counts and cohorts per arm. Out: a `Verdict` with bounds and its reasons.
Always: pure; bounds hold however often you look; too little data is `waiting`, never a guess.
"""
