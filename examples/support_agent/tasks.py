"""What customers ask: a fixed catalogue of tasks, most of them routine and a few of them hard."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

_SEED = 20_261_125
_PLACES = ("Lisbon", "Kyoto", "Oslo", "Quito", "Tbilisi", "Accra", "Hanoi", "Turin", "Bergen", "Cusco")


@dataclass(frozen=True, slots=True)
class Kind:
    """
    One kind of task.

    Attributes:
        capability: Name of the class.
        share: Part of the traffic, ratio 0 to 1.
        difficulty: Mean difficulty in logits; a model of ability 0 fails a task of difficulty 0 half of the time.
        spread: Standard deviation of the difficulty, in logits.
        text: What is asked; `{}` is a place, the number tells tasks apart.
        tool: Name of the tool that solves it.
    """

    capability: str
    share: float
    difficulty: float
    spread: float
    text: str
    tool: str


KINDS = (
    Kind("order_status", 0.50, -4.5, 0.6, "Where is order {number} to {place}?", "find_order"),
    Kind("reschedule", 0.38, -1.0, 0.6, "Move booking {number} in {place} to the next free evening.", "move_booking"),
    Kind(
        "multi_leg_refund",
        0.12,
        1.2,
        0.7,
        "Trip {number} by way of {place} was cancelled half-way, one leg was paid with a voucher: refund it.",
        "refund",
    ),
)


@dataclass(frozen=True, slots=True)
class Task:
    """
    One request as customers make it again and again.

    Attributes:
        request_id: Names the task, so that its outcomes under several models can be compared.
        difficulty: In logits; known to the simulated model and to nobody else.
    """

    request_id: str
    kind: Kind
    text: str
    difficulty: float


def catalogue(count: int) -> Sequence[Task]:
    """*count* tasks, of each kind as many as its share; the same ones every time."""
    dice = random.Random(_SEED)  # noqa: S311  (a simulation, no secret)
    return [
        Task(
            request_id=f"{kind.capability}-{number}",
            kind=kind,
            text=kind.text.format(number=10_000 + number, place=dice.choice(_PLACES)),
            difficulty=dice.gauss(kind.difficulty, kind.spread),
        )
        for kind in KINDS
        for number in range(round(kind.share * count))
    ]
