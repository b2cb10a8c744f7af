from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.output.plain import plain
from tests.output.golden import FOLDER, PRINTED


def kept(golden: Any, printed: Any) -> Any:
    """*printed* without the keys that have come since *golden* was written."""
    if isinstance(golden, dict) and isinstance(printed, dict):
        return {key: kept(golden.get(key), value) for key, value in printed.items() if key in golden}
    if isinstance(golden, list) and isinstance(printed, list) and len(golden) == len(printed):
        return [kept(*pair) for pair in zip(golden, printed, strict=True)]
    return printed


@pytest.mark.parametrize("name", PRINTED)
def test_what_people_parse_keeps_its_shape_and_its_numbers(name: str) -> None:
    """A key may come; none may go, change its type or be rounded."""
    golden = json.loads((FOLDER / f"{name}.json").read_text())

    assert golden == kept(golden, json.loads(json.dumps(plain(PRINTED[name]()), allow_nan=False)))


def test_every_golden_file_is_compared() -> None:
    """A file that is left behind would promise what nothing checks."""
    assert {f"{name}.json" for name in PRINTED} == {file.name for file in FOLDER.iterdir()}
