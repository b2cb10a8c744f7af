from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Machines are shared and noisy, so how long an example takes says nothing about the code; in CI the same examples are
# tried each time, and elsewhere new ones.
settings.register_profile(
    "cliffwatch",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("cliffwatch")


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """A command configures logging for its whole process; here the process goes on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
