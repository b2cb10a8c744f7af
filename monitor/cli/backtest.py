"""What other policies would have said: the same records read once per policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from monitor.cli.app import print_result
from monitor.cli.options import OutputFormat
from monitor.cli.terminal.rollout_list import print_backtest
from monitor.config.file import parse_config_file
from monitor.config.model import Config, load_config
from monitor.errors import UsageError
from monitor.ledger.ledger import RolloutRecord
from monitor.output.rollouts import rollouts_json
from monitor.rollout.policy import Policy
from monitor.service.replay import Replay

AS_CONFIGURED = "config"
"""Name of the policy of the config itself, which is always shown beside the others."""

Opened = Callable[[Config], AbstractContextManager[Replay]]
"""Opens a replay of the records."""


def policies(given: Sequence[str], config: Config) -> Mapping[str, Policy]:
    """
    Policies by name, that of *config* first.

    Args:
        given: `NAME=FILE` each; the file is a config of which only the section `rollout` counts, and what it leaves
            out is as in *config*.
        config: Where everything else comes from.

    Raises:
        UsageError: one is not NAME=FILE, or repeats a name.
        ConfigInvalid: a file cannot be used.
    """
    named = {AS_CONFIGURED: config.rollout}
    for word in given:
        name, separator, file = word.partition("=")
        if not name or not separator or not file:
            raise UsageError(f"--policy {word} is not NAME=FILE; write --policy careful=careful.yaml, for example.")
        if name in named:
            raise UsageError(f"Two policies are named {name}; `{AS_CONFIGURED}` is the one of the config itself.")
        named[name] = _policy(Path(file), config.rollout)
    return named


class Drain(Protocol):
    """Reads everything, showing progress under *title*."""

    def __call__(self, replayed: Replay, config: Config, *, title: str) -> None: ...


def backtest(
    named: Mapping[str, Policy], config: Config, opened: Opened, output: OutputFormat, *, drain: Drain
) -> None:
    """Replay under each of *named* and print what each said, and when."""
    said: dict[str, Sequence[RolloutRecord]] = {}
    for name, policy in named.items():
        alternative = config.model_copy(update={"rollout": policy})
        with opened(alternative) as replayed:
            drain(replayed, alternative, title=f"policy {name}")
            said[name] = replayed.stages.snapshots.current.rollouts
    listed = [{"name": name, **rollouts_json(records)} for name, records in said.items()]
    print_result(output, {"policies": listed}, print_backtest, said)


def moment(text: str | None, option: str) -> float | None:
    """
    *text* as Unix seconds; without a zone it is UTC.

    Raises:
        UsageError: it is not a date and time.
    """
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text} is not a time; write 2026-11-23T05:00:00Z, for example.") from error
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _policy(file: Path, base: Policy) -> Policy:
    alternative = load_config(file).rollout
    given = parse_config_file(file.read_bytes()).values.get("rollout") or {}
    return base.model_copy(update={name: getattr(alternative, name) for name in given})
