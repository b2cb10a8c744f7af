"""
The probe panel: requests that every version is asked again.

`panel` reads and writes panels, `run` asks one of an agent, `agents` has the two kinds of agents, `journal`
keeps what was answered and spent.
"""
