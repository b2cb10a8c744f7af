"""
A real rollout to try things on: outcomes of public model versions on public function-calling requests.

The facts (ids, numbers, outcomes; no request text) come from the Berkeley Function-Calling Leaderboard, archived run of
2024-08-11 (Apache-2.0). Times, services and trace ids are made up here: the requests are replayed as if one service
each had served them for three days with the baseline and for three days with the candidate.
"""
