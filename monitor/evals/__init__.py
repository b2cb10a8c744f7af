"""
Two runs of an eval suite in, one stratified report out: what an upgrade does to the hard tier before it ships.

`formats` turns result files into `Attempt`s, whatever tool wrote them; `cases` folds the attempts of a run into cases;
`pairing` puts the same case of both runs beside each other; `tiering` says how hard each case is; `comparison` counts
and bounds; `audit` says what the suite cannot see; `gate` holds the result to floors agreed beforehand. What comes out
is one `EvalReport`, and the renderers only write it down.

A case without a score is unknown and never a success. All of it is pure but `files`, which opens what it is given.
"""
