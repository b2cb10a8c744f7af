"""
Labels: who said what of a request, and what several verdicts say together.

In: the verdicts of several sources on each request. Out: failure rates that allow for what is missing or mistaken.
Always: pure; nothing here knows arms, SQL or a clock.
"""
