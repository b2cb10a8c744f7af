"""Programs that some tests run: missing is a failure in CI and a skip with its reason elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_BUILT = Path(__file__).resolve().parents[1] / ".servers"


def required_program(*names: str) -> str:
    """Path of the first of *names* that is on PATH, or that `make servers` built."""
    for name in names:
        if found := shutil.which(name) or shutil.which(_BUILT / name / name):
            return found
    reason = f"{names[0]} is not installed; run `make servers`."
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
