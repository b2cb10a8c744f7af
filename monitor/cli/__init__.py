"""
The command line: a person's words in, an exit code out.

`app` has what all commands share; one module per command or group of commands. Exit codes: 0 done, 1 a found problem
(config, gate), 2 usage, 3 a dependency is out of reach.
"""

from monitor.cli.app import main, run_command

__all__ = ["main", "run_command"]
