"""A reload says what it took, and what needs a restart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from monitor.cli.run import reloader
from monitor.config.model import load_config
from monitor.errors import ConfigInvalid


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cliffwatch.yaml"
    path.write_text("rollout: {maturity_seconds: 3600}\n")
    return path


def test_a_reload_names_what_it_took_and_what_needs_a_restart(file: Path) -> None:
    """Policy and log level change at once, everything else at the next start, and it says so until then."""
    reviewer = SimpleNamespace(policy=None)
    reload = reloader(reviewer, file, load_config(file))  # type: ignore[arg-type]  # all that it sets
    assert "reloaded: nothing new; no restart needed" == reload()

    changed = {
        "rollout": {"maturity_seconds": 900},
        "log": {"level": "warning"},
        "kafka": {"topics": ["traces"]},
        "traces": {"assembly": {"quiet_seconds": 5}},
    }
    file.write_text(yaml.safe_dump(changed))
    waiting = "restart to take kafka.topics, traces.assembly.quiet_seconds"

    assert f"reloaded: took log.level, rollout.maturity_seconds; {waiting}" == reload()
    assert f"reloaded: nothing new; {waiting}" == reload()
    assert 900 == reviewer.policy.maturity_seconds


def test_a_config_that_cannot_be_used_changes_nothing(file: Path) -> None:
    """The policy in force stays, and the sentence says where it is wrong."""
    reviewer = SimpleNamespace(policy="as before")
    reload = reloader(reviewer, file, load_config(file))  # type: ignore[arg-type]  # all that it sets
    file.write_text("rollout: {maturity: 1}\n")

    with pytest.raises(ConfigInvalid, match="maturity"):
        reload()

    assert "as before" == reviewer.policy
