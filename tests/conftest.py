from __future__ import annotations

import os

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
