"""
Labels: the verdicts of several sources on each request, and the failure rates that they support.

In: the verdicts of several sources on each request. Out: failure rates corrected for missing and wrong labels.
Always: pure; nothing here knows arms, SQL or a clock.
"""
