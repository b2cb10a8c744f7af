"""How a calibration is stored: versioned JSON around a checksum, refused when it is not what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from annotated_types import Ge
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from monitor.difficulty.frozen import FrozenDifficulty
from monitor.difficulty.tiers import TierCuts
from monitor.difficulty.trust import TierPromise, Trust
from monitor.errors import CalibrationInvalid

SCHEMA = "cliffwatch.calibration/v1"
_ID_DIGITS = 16
_Deviation = Annotated[float, Ge(0)]
_Count = Annotated[int, Ge(0)]


class _Weights(TypedDict):
    mean: list[float]
    variance: list[_Deviation]
    versions: list[_Count]
    failed_by_all: list[bool]


class _Difficulty(TypedDict):
    bias: float
    names: list[str]
    weights: _Weights
    unmet: dict[str, tuple[float, _Deviation]]
    items: dict[str, str]
    scales: dict[str, tuple[float, _Deviation]]
    tiered_capabilities: list[str]


class _Content(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)  # type: ignore[misc]

    frozen_at: float
    cuts: TierCuts
    trust: Trust
    reference_version: str
    bin_edges: tuple[float, ...]
    difficulty: _Difficulty
    min_tag_probability: float
    frontier_min_versions: _Count
    promises: NotRequired[tuple[TierPromise, ...]]  # missing before version 1.1


_CONTENT = TypeAdapter(_Content)
_GROUPS = {"capability", "tools", "prompt", "item", "attribute", "number"}


def read_content(content: dict[str, Any]) -> dict[str, Any]:
    """
    The fields that *content*, plain JSON values, gives a calibration; tagging by them cannot fail.

    Raises:
        ValueError: a part is missing, of another type or not finite, or what belongs together differs in length.
    """
    read: dict[str, Any] = {**_CONTENT.validate_json(json.dumps(content))}  # lists stand for tuples in JSON alone
    difficulty = read["difficulty"]
    lengths = {len(difficulty["names"]), *(len(column) for column in difficulty["weights"].values())}
    if len(lengths) != 1:
        raise ValueError("names and weights differ in number")
    if missing := _GROUPS - difficulty["unmet"].keys():
        raise ValueError(f"no belief about {', '.join(sorted(missing))} never met")
    if content["bin_edges"] != sorted(content["bin_edges"]):
        raise ValueError("edges of bins are not ascending")
    return read | {"difficulty": FrozenDifficulty.from_content(difficulty)}


def content_checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of *content* as canonical JSON, in hexadecimal."""
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def content_id(content: Mapping[str, Any]) -> str:
    """Short name of *content*: the first 16 digits of its checksum."""
    return content_checksum(content)[:_ID_DIGITS]


def seal(content: Mapping[str, Any], *, max_bytes: int) -> str:
    """
    *content* as JSON with its schema version and checksum.

    Raises:
        CalibrationInvalid: the text would be larger than *max_bytes*.
    """
    body = _canonical(content)
    checksum = hashlib.sha256(body.encode()).hexdigest()
    text = f'{{"schema":"{SCHEMA}","checksum":"{checksum}","content":{body}}}'
    _check_size(text, max_bytes)
    return text


def unseal(text: str, *, max_bytes: int) -> dict[str, Any]:
    """
    The content that `seal` wrote.

    Raises:
        CalibrationInvalid: *text* is larger than *max_bytes*, no such JSON, of another version or changed since.
    """
    _check_size(text, max_bytes)
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise CalibrationInvalid("The calibration is no JSON: calibrate again or restore the file.") from exc
    if not isinstance(envelope, dict) or not isinstance(envelope.get("content"), dict):
        raise CalibrationInvalid("The text is no calibration: calibrate again or restore the file.")
    if envelope.get("schema") != SCHEMA:
        raise CalibrationInvalid(f"The calibration is {envelope.get('schema')!r}, not {SCHEMA!r}: calibrate again.")
    content: dict[str, Any] = envelope["content"]
    try:
        checksum = content_checksum(content)
    except RecursionError as exc:
        raise CalibrationInvalid("The calibration is nested too deeply: calibrate again.") from exc
    except ValueError as exc:  # NaN and infinities are JSON to Python alone
        raise CalibrationInvalid("The calibration holds a number that is not finite: calibrate again.") from exc
    if envelope.get("checksum") != checksum:
        raise CalibrationInvalid("The calibration changed since it was frozen: calibrate again or restore the file.")
    return content


def _check_size(text: str, max_bytes: int) -> None:
    size = len(str(text).encode("utf-8", "surrogatepass"))  # SQLite may hold bytes, which are no JSON of ours
    if size > max_bytes:
        raise CalibrationInvalid(f"The calibration has {size} bytes, more than max_calibration_bytes ({max_bytes}).")


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
