"""
Real rollouts to try Cliffwatch on: outcomes of public model versions on public function-calling requests.

The data (IDs, numbers, outcomes; no request text) come from the Berkeley Function-Calling Leaderboard, archived run of
2024-08-11 (Apache-2.0). Times, services and trace IDs are made up here: for each rollout, one service serves the
requests for three days with the baseline and for three days with the candidate.
"""
