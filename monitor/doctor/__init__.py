"""
The checks of `cliffwatch doctor`: facts in, findings with advice out.

One module per subject. Only `prometheus` opens a connection; nothing here uses a file, a clock or a database.
"""
