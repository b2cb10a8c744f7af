from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.houses import House, a_house


@pytest.fixture
def house() -> Iterator[House]:
    with a_house() as house:
        yield house
