from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _commands_leave_logging_alone(logging_as_before: None) -> None:
    """Every test of a command."""
