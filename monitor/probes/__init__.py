"""
The probe panel: a fixed set of requests that every model version runs.

`panel` reads and writes panels, `run` runs one on an agent, `agents` calls the two kinds of agents, and `journal` saves
answers and costs.
"""
