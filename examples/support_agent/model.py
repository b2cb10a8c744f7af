"""A simulated language model: it calls nothing over the network, and fails as often as its ability says."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from examples.support_agent.tasks import Task


@dataclass(frozen=True, slots=True)
class Model:
    """
    One model version.

    Attributes:
        name: As it calls itself in `gen_ai.response.model`.
        ability: In logits, on the scale of task difficulty.
        gain: Added to the ability, in logits.
        gain_below: The gain holds for tasks below this difficulty only: the rest is left where it was.
    """

    name: str
    ability: float
    gain: float = 0.0
    gain_below: float = math.inf

    def failure_probability(self, task: Task) -> float:
        """How likely the model is to get *task* wrong, ratio 0 to 1."""
        ability = self.ability + (self.gain if task.difficulty < self.gain_below else 0.0)
        return 1.0 / (1.0 + math.exp(ability - task.difficulty))

    def solves(self, task: Task, run: int) -> bool:
        """Whether the *run*-th answer to *task* is right; the same answer every time it is asked."""
        return _chance(self.name, task.request_id, run) >= self.failure_probability(task)

    def seconds(self, task: Task, run: int) -> float:
        """How long one answer takes, in seconds."""
        return 0.4 + 1.6 * _chance(self.name, task.request_id, run, "seconds")


def _chance(*parts: object) -> float:
    """A number from 0 to 1 that depends on nothing but *parts*."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
