"""A made-up history: items of known difficulty, answered by versions of known ability."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from monitor.difficulty.features import LabelledRequest, RequestFeatures

CAPABILITIES = ("search", "booking", "refund")


def features_of(item: int) -> RequestFeatures:
    """The request named *item*."""
    return RequestFeatures(capability=CAPABILITIES[item % 3], item=f"item-{item}")


def logit_of(item: int, items: int) -> float:
    """Difficulty of *item*: evenly between -5 and 4."""
    return -5.0 + 9.0 * item / (items - 1)


def answers(model_version: str, *, ability: float, items: int, seed: int = 0) -> Iterator[LabelledRequest]:
    """One label per item; *ability* is added to the logit of failing, so low is able."""
    chance = random.Random(f"{model_version} {seed}")
    for item in range(items):
        failed = chance.random() < 1 / (1 + math.exp(-logit_of(item, items) - ability))
        yield LabelledRequest(features_of(item), model_version, failed, started_at=float(item))


def history(*, versions: int = 8, items: int = 150, seed: int = 0) -> Sequence[LabelledRequest]:
    """Labels of *versions*, whose abilities lie between -1 and 1."""
    return [
        label
        for number in range(versions)
        for label in answers(f"past-{number}", ability=(number * 5 % 7 - 3) / 3, items=items, seed=seed)
    ]
