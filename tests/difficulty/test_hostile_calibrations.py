"""Calibrations that somebody made up who knows the format, checksum included: refused as they are read, in no time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import SCHEMA, Calibration, _checksum, unseal
from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.errors import CalibrationInvalid
from tests.difficulty.made_up import history

LIMIT_BYTES = 64 * 1024 * 1024
_FROZEN = calibrate(history(items=60), frozen_at=1_000.0, settings=DifficultySettings())
assert _FROZEN is not None
TEXT = _FROZEN.to_json()
REQUEST = RequestFeatures("sql", item="x", tool_set="t", prompt_family="p", attributes={"a": 1.0, "b": "c"})


def content() -> dict[str, Any]:
    return unseal(TEXT)


def sealed(forged: dict[str, Any]) -> str:
    """*forged* with the checksum that belongs to it."""
    return json.dumps({"schema": SCHEMA, "checksum": _checksum(forged), "content": forged})


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    forged = content()
    change(forged)
    return sealed(forged)


def weights(forged: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = forged["difficulty"]["weights"]
    return found


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("[" * 200_000, id="deep"),
        pytest.param('{"a":' * 100_000 + "1" + "}" * 100_000, id="deep objects"),
        pytest.param(
            '{"schema":"' + SCHEMA + '","checksum":"","content":' + '{"a":' * 500 + "1" + "}" * 501, id="rather deep"
        ),
        pytest.param("1" * 10_000, id="a number of ten thousand digits"),
        pytest.param(TEXT.replace('"bias":', '"bias":1e999,"bios":', 1), id="a number beyond all bounds"),
        pytest.param(TEXT.replace('"bias":', '"bias":NaN,"bios":', 1), id="no number"),
        pytest.param(TEXT.replace("/v1", "/v9", 1), id="another version"),
        pytest.param(TEXT[:-10], id="cut off"),
        pytest.param(changed(dict.clear), id="empty"),
        pytest.param(changed(lambda c: c["difficulty"].update(bias="x")), id="text for a number"),
        pytest.param(changed(lambda c: c["trust"].update(is_trusted="yes")), id="text for trust"),
        pytest.param(changed(lambda c: c["cuts"].update(hard=None)), id="no cut"),
        pytest.param(changed(lambda c: weights(c).update(mean=["x"] * len(weights(c)["mean"]))), id="text for weights"),
        pytest.param(changed(lambda c: weights(c)["mean"].pop()), id="a weight too few"),
        pytest.param(changed(lambda c: weights(c)["variance"].__setitem__(0, -1.0)), id="a negative variance"),
        pytest.param(changed(lambda c: c["difficulty"].update(items=[])), id="a list for a mapping"),
        pytest.param(changed(lambda c: c["difficulty"].update(unmet={})), id="no belief about what was never met"),
        pytest.param(changed(lambda c: c.update(bin_edges=[2.0, 1.0])), id="edges out of order"),
        pytest.param(changed(lambda c: c["difficulty"].update(names=[{}] * 3)), id="objects for names"),
    ],
)
def test_what_would_fail_later_is_refused_now(text: str) -> None:
    """Never another error than the one that keeps the calibration before it in force."""
    with pytest.raises(CalibrationInvalid):
        Calibration.from_json(text)


def test_what_is_larger_than_allowed_is_not_parsed() -> None:
    """The size is looked at first."""
    with pytest.raises(CalibrationInvalid, match="more than 67,108,864"):
        Calibration.from_json('{"a":"' + "x" * LIMIT_BYTES + '"}')


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=5,
)


@given(st.data(), _JSON)
def test_any_part_may_be_anything(data: st.DataObject, value: Any) -> None:
    """Whatever stands in the place of one part, the calibration is refused, or tags."""
    forged = content()
    place = data.draw(st.sampled_from([forged, forged["cuts"], forged["trust"], forged["difficulty"], weights(forged)]))
    place[data.draw(st.sampled_from(sorted(place)))] = value

    try:
        calibration = Calibration.from_json(sealed(forged))
    except CalibrationInvalid:
        return
    calibration.tag(REQUEST)


def test_the_true_one_is_read() -> None:
    """The checks refuse nothing that we write."""
    assert Calibration.from_json(TEXT) == _FROZEN
