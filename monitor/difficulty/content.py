"""What the content of a stored calibration has to look like: one that was tampered with fails as it is read."""

from __future__ import annotations

import json
from typing import Annotated, Any, NotRequired

from annotated_types import Ge
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from monitor.difficulty.frozen import FrozenDifficulty
from monitor.difficulty.tiers import TierCuts
from monitor.difficulty.trust import TierPromise, Trust

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
