"""
What `cliffwatch doctor` says: facts in, findings with advice out.

One module per subject. Only `prometheus` opens a connection; nothing here touches a file, a clock or a database.
"""
