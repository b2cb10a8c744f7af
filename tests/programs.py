"""Programs that some tests run: missing is a failure in CI and a skip with its reason elsewhere."""

from __future__ import annotations

import os
import shutil

import pytest


def required_program(*names: str) -> str:
    """Path of the first of *names* that is on PATH."""
    for name in names:
        if found := shutil.which(name):
            return found
    reason = f"{names[0]} is not installed; run `make servers`."
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
