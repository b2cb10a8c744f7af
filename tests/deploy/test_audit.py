from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.audit import EXIT_FOUND, EXIT_UNREACHABLE, LOCKS, judge

CLEAN = {"name": "anyio", "version": "4.0.0", "vulns": []}
SKIPPED = {"name": "bcrypt", "skip_reason": "Dependency not found on PyPI and could not be audited: bcrypt (5.0.0)"}
VULNERABLE = {
    "name": "h11",
    "version": "0.14.0",
    "vulns": [{"id": "GHSA-1", "fix_versions": ["0.16.0"]}, {"id": "GHSA-2", "fix_versions": []}],
}


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        pytest.param(report(CLEAN), 0, "no known vulnerability in 1 packages", id="all are known and clean"),
        pytest.param(report(CLEAN, SKIPPED), EXIT_UNREACHABLE, "1 of 2 packages were not audited", id="one is skipped"),
        pytest.param(report(SKIPPED), EXIT_UNREACHABLE, "bcrypt among them", id="all are skipped"),
        pytest.param(report(), EXIT_UNREACHABLE, "nothing was audited", id="the report names none"),
        pytest.param("", EXIT_UNREACHABLE, "run `make audit` where", id="pip-audit could reach nobody"),
        pytest.param("{}", EXIT_UNREACHABLE, "nothing was audited", id="it says something else"),
        pytest.param(
            report(CLEAN, SKIPPED, VULNERABLE),
            EXIT_FOUND,
            "lock: h11 0.14.0 has GHSA-1, mended in 0.16.0; run `make lock` and read its notes\n"
            "lock: h11 0.14.0 has GHSA-2, mended in no release yet",
            id="one is vulnerable, others skipped",
        ),
    ],
)
def test_no_answer_is_not_a_clean_bill(text: str, code: int, says: str) -> None:
    """pip-audit ends with success when it could ask nobody; that is told apart from having found nothing."""
    said, exit_code = judge("lock", text)

    assert code == exit_code
    assert says in said


def test_every_lock_file_is_audited() -> None:
    """What builds the wheel can do as much harm as what runs."""
    assert ["requirements.lock", "build.lock"] == [lock.name for lock in LOCKS if lock.exists()]
