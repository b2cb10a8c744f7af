"""Deployments: the periods in which a model version served, which end when it is silent while others serve."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

_LOG_ODDS = 10.0  # natural logarithm of about 20,000, the odds against a silence by chance
_EVEN = 1.0
_OTHERS_FOR_FEW = 20_000.0  # requests of others that end a deployment with too few requests to know its rate
_LEAST_GROWTH = 5  # requests
_PAUSES = 6  # a gap between two requests counts as service up to a sixth of the silence that ends a deployment


class Traffic(NamedTuple):
    """A spell of requests without a long pause, spread evenly from the first to the last; Unix seconds."""

    first_started_at: float
    last_started_at: float
    requests: float

    def between(self, since: float, until: float) -> float:
        """
        Requests that started from *since* until *until*, Unix seconds.

        >>> Traffic(0.0, 100.0, 50).between(90.0, 200.0)
        5.0
        """
        length = self.last_started_at - self.first_started_at
        if not length:
            return self.requests if since <= self.first_started_at < until else 0.0
        overlap = min(until, self.last_started_at) - max(since, self.first_started_at)
        return self.requests * max(overlap, 0.0) / length


@dataclass(frozen=True)
class Deployment:
    """
    One period in which a model version served.

    Attributes:
        traffic: Its requests over time, oldest first; never empty.
        ended_at: When its silence was long enough to end it, or when a person or a new rollout ended it, Unix seconds;
            None until then.
    """

    model_version: str
    traffic: Sequence[Traffic]
    ended_at: float | None

    @property
    def first_started_at(self) -> float:
        return self.traffic[0].first_started_at

    @property
    def last_started_at(self) -> float:
        return self.traffic[-1].last_started_at

    @property
    def requests(self) -> float:
        return self._requests_before[-1]

    def between(self, since: float, until: float) -> float:
        """Requests that started from *since* until *until*, Unix seconds."""
        first = bisect_left(self.traffic, since, key=attrgetter("last_started_at"))
        end = bisect_left(self.traffic, until, key=attrgetter("first_started_at"))
        whole = self._requests_before[end - 1] - self._requests_before[first + 1] if end - first > 1 else 0.0
        edges = (self.traffic[place] for place in {first, end - 1} if first <= place < end)
        return whole + sum(spell.between(since, until) for spell in edges)

    @cached_property
    def _requests_before(self) -> Sequence[float]:
        """Cumulative requests: before each spell, then of all."""
        return [*accumulate((spell.requests for spell in self.traffic), initial=0.0)]

    def is_over(self, at: float) -> bool:
        """Whether it had ended at *at*, Unix seconds."""
        return self.ended_at is not None and self.ended_at <= at


def growth_times(
    traffic: Sequence[Traffic], since: float, until: float, *, counted: float, growth: float
) -> Iterator[tuple[float, float]]:
    """
    Times at which the requests since *since* have grown by another *growth*.

    Args:
        traffic: Requests over time, oldest first.
        since: Where counting begins, Unix seconds.
        until: Where it ends, Unix seconds.
        counted: Requests at the start.
        growth: Growth from one time to the next, a ratio; at least five requests.

    Yields:
        Unix seconds, and the requests by then.

    >>> list(growth_times([Traffic(0.0, 100.0, 50)], 0.0, 100.0, counted=20, growth=0.5))
    [(60.0, 30.0), (90.0, 45.0)]
    """
    before = 0.0
    wanted = max(counted * (1 + growth), counted + _LEAST_GROWTH)
    for spell in traffic:
        more = spell.between(since, until)
        first, last = max(spell.first_started_at, since), min(spell.last_started_at, until)
        while more and before + more >= wanted:
            yield first + (wanted - before) / more * (last - first), wanted
            wanted = max(wanted * (1 + growth), wanted + _LEAST_GROWTH)
        before += more


@dataclass(frozen=True)
class ServiceTraffic:
    """
    The traffic of all versions of a service, to distinguish the silence of one version from that of the service.

    A deployment ends when others have served for *silence_seconds* since its last request, with so many requests that
    it should have had about ten at its rate so far. Time in which no version serves does not count.

    Attributes:
        traffic: Requests of each version over time, oldest first.
        ends: When attempts under the name of each version failed, Unix seconds, in order.
        silence_seconds: Infinite if silence ends no deployment.
        min_requests: Requests that a deployment needs before its rate is known.
        late_seconds: How much later the requests of each version arrive than others'; added to the silence.
    """

    traffic: Mapping[str, Sequence[Traffic]]
    ends: Mapping[str, Sequence[float]]
    silence_seconds: float
    min_requests: int
    late_seconds: Mapping[str, float]

    def deployments(self) -> Sequence[Deployment]:
        """The deployments of all versions, in order of their first requests."""
        deployments = [each for name in self.traffic for each in self._deployments(name, self.ends.get(name, ()))]
        return sorted(deployments, key=lambda each: (each.first_started_at, each.model_version))

    @cached_property
    def _all(self) -> Sequence[tuple[float, float, float, str]]:
        return sorted((*spell, name) for name, spells in self.traffic.items() for spell in spells)

    @cached_property
    def _reach(self) -> Sequence[float]:
        return list(accumulate((last for _, last, _, _ in self._all), max))

    def _deployments(self, name: str, ends: Sequence[float]) -> Iterator[Deployment]:
        served: list[Traffic] = []
        for spell in _cut(self.traffic[name], ends):
            if served and (ends or spell.first_started_at - served[-1].last_started_at >= self.silence_seconds):
                ended_at = self._ended_at(name, served, spell.first_started_at, ends)
                if ended_at is not None:
                    yield Deployment(name, served, ended_at)
                    served = []
            served.append(spell)
        if served:
            yield Deployment(name, served, self._ended_at(name, served, math.inf, ends))

    def _ended_at(self, name: str, served: Sequence[Traffic], until: float, ends: Sequence[float]) -> float | None:
        """End of the deployment that *served*, if it is before the next request of *name* at *until*; else None."""
        failed_at = next((end for end in ends if served[-1].last_started_at <= end <= until), math.inf)
        ended_at = min(failed_at, self._silent_at(name, served, until))
        return None if math.isinf(ended_at) else ended_at

    def _silent_at(self, name: str, served: Sequence[Traffic], until: float) -> float:
        """When the others had served for long enough without *name*; infinite if they have not."""
        since = reached = served[-1].last_started_at
        # Once a later request has arrived, earlier ones have too, so only a silence at the end waits for late ones.
        silence = self.silence_seconds + (self.late_seconds[name] if math.isinf(until) else 0.0)
        if min(until, self._reach[-1]) - since < silence:
            return math.inf
        needed = self._others_needed(name, served)
        seconds = requests = 0.0
        for first, last, number, other in self._all[bisect_right(self._reach, since) :]:
            if first >= until:
                break
            if other == name:
                continue
            start, end = max(first, reached), max(min(last, until), reached)
            more = Traffic(first, last, number).between(since, until)
            seconds += min(start - reached, self.silence_seconds / _PAUSES) + end - start if end > reached else 0.0
            requests += more
            reached = max(reached, end)
            if seconds >= silence and requests >= needed:
                surplus = (requests - needed) / more * (end - start) if more else 0.0
                return max(start, end - min(seconds - silence, surplus))
        return math.inf

    def _others_needed(self, name: str, served: Sequence[Traffic]) -> float:
        """
        Requests of others after which the absence of *name* is more than chance.

        Each request belongs to another version with probability others / (others + own). The share of *name* may have
        fallen lately, so the smallest of its overall odds, its recent odds and even odds counts.
        """
        if sum(spell.requests for spell in served) < self.min_requests:
            return _OTHERS_FOR_FEW
        reached = accumulate(spell.requests for spell in reversed(served))
        latest = next(number for number, total in enumerate(reached, 1) if total >= self.min_requests)
        odds = min(_EVEN, self._odds(name, served), self._odds(name, served[-latest:]))
        return _LOG_ODDS / math.log1p(odds)

    def _odds(self, name: str, served: Sequence[Traffic]) -> float:
        """Requests of *name* per request of others in the same time."""
        since, until = served[0].first_started_at, served[-1].last_started_at
        spells = (Traffic(*spell) for *spell, other in self._all if other != name)
        others = sum(spell.between(since, until) for spell in spells)
        return sum(spell.requests for spell in served) / others if others else math.inf


def _cut(spells: Iterable[Traffic], ends: Sequence[float]) -> Iterator[Traffic]:
    """*spells*, split at *ends*."""
    for spell in spells:
        rest = spell
        for end in ends:
            if rest.first_started_at < end < rest.last_started_at:
                before = rest.between(rest.first_started_at, end)
                yield Traffic(rest.first_started_at, end, before)
                rest = Traffic(end, rest.last_started_at, rest.requests - before)
        yield rest
