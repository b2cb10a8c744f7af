from __future__ import annotations

import pytest

from tests.contracts.hostile_names import HostileNames
from tests.stack.servers import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(7_200)]


class TestPostgres(HostileNames):
    @pytest.fixture
    def url(self, postgres: PostgresServer) -> str:
        return postgres.new_database()
