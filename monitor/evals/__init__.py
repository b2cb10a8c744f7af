"""
Compares two runs of an eval suite tier by tier: what an upgrade does to the hard tier before it ships.

`formats` turns result files of any tool into `Attempt`s; `cases` groups the attempts of a run by case and pairs the
cases of both runs; `runs` chooses the runs to compare; `tiering` assigns tiers to cases; `comparison` computes
estimates and bounds; `human` corrects pass rates by people's verdicts; `audit` checks what the suite cannot detect;
`gate` checks floors. `report` puts this together as one `EvalReport`, which `rendering` only writes.

A case without a score is unknown and never a success. All modules are pure except `files`, which opens files.
"""
