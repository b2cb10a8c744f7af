"""
What `cliffwatch doctor` says: facts that probes brought in, findings with their advice out.

Nothing here touches a socket, a file, a clock or a database; one module per thing that is looked at.
"""
