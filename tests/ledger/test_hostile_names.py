from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.hostile_names import HostileNames

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7_200)]


class TestSqlite(HostileNames):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/ledger.db"
