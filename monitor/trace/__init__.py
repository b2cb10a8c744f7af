"""
Agent traces: one finished run of an agent, and the verdicts on it.

In: the bytes of a record. Out: `Trace`, `OutcomeEvent`, or `InvalidRecord` with a reason.
Always: pure; decoding raises nothing but `InvalidRecord`; sizes are checked before bytes are parsed; label values that
leave here are bounded in alphabet and length.
"""
