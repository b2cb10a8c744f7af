"""
Compares two runs of an eval suite tier by tier: what an upgrade does to the hard tier before it ships.

`formats` turns result files of any tool into `Attempt`s; `cases` groups the attempts of a run by case and pairs the
cases of both runs; `runs` decides which runs of the files are meant; `tiering` says how hard each case is; `comparison`
counts and computes bounds; `human` corrects pass rates by people's verdicts; `audit` says what the suite cannot detect;
`gate` checks floors. `report` puts this together as one `EvalReport`, which `rendering` only writes.

A case without a score is unknown and never a success. All modules are pure but `files`, which opens files.
"""
