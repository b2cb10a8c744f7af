"""
What `cliffwatch doctor` says: facts that probes brought in, findings with their advice out.

One module per thing that is looked at. Only `prometheus_client` touches a socket; nothing touches a file, a clock or a
database.
"""
