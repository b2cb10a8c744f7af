"""What the content of a stored calibration has to look like: one that was tampered with fails as it is read."""

from __future__ import annotations

import json
from typing import Annotated, Any, NotRequired

from annotated_types import Ge
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from monitor.difficulty.tiers import Tier

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_Deviation = Annotated[float, Ge(0)]
_Count = Annotated[int, Ge(0)]


class _Cuts(TypedDict):
    medium: float
    hard: float
    frontier: float


class _Trust(TypedDict):
    is_trusted: bool
    reasons: list[str]
    auc: float | None
    auc_lower: float | None
    calibration_error: float | None
    versions: _Count
    known_share: float | None
    hard_rate_reasons: list[str]
    reliability: list[tuple[float, float, _Count]]


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
    __pydantic_config__ = _STRICT  # type: ignore[misc]

    frozen_at: float
    cuts: _Cuts
    trust: _Trust
    reference_version: str
    bin_edges: list[float]
    difficulty: _Difficulty
    min_tag_probability: float
    frontier_min_versions: _Count
    promises: NotRequired[list[tuple[Tier, _Count, _Count, float, float]]]  # missing before version 1.1


_CONTENT = TypeAdapter(_Content)
_GROUPS = {"capability", "tools", "prompt", "item", "attribute", "number"}


def check_content(content: dict[str, Any]) -> None:
    """
    Let *content*, plain JSON values, pass where tagging by it cannot fail.

    Raises:
        ValueError: a part is missing, of another type or not finite, or what belongs together differs in length.
    """
    _CONTENT.validate_json(json.dumps(content))  # lists stand for tuples in JSON alone
    difficulty = content["difficulty"]
    lengths = {len(difficulty["names"]), *(len(column) for column in difficulty["weights"].values())}
    if len(lengths) != 1:
        raise ValueError("names and weights differ in number")
    if missing := _GROUPS - difficulty["unmet"].keys():
        raise ValueError(f"no belief about {', '.join(sorted(missing))} never met")
    if content["bin_edges"] != sorted(content["bin_edges"]):
        raise ValueError("edges of bins are not ascending")
