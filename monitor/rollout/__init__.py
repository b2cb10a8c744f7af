"""
Rollouts: what a change of the model version did to the hard tier.

In: counts and cohorts of each arm. Out: a `Verdict` with bounds and reasons.
Always: pure; bounds hold at all looks together; too little data is `waiting`, never a guess.
"""
