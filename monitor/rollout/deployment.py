"""Deployments: from when until when a name served, told from its silence while others went on."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

_MISSED = 10.0  # natural logarithm of 20,000: chance alone skips a version that still serves so rarely
_EVEN = 1.0
_MISSED_BY_FEW = 20_000.0  # requests of others, where the version had too few to tell its rate
_FEWEST_MORE = 5
_PAUSES = 6  # a gap between two requests counts as service up to the sixth part of the silence that ends a deployment


class Traffic(NamedTuple):
    """Requests that were served without a pause worth noting, spread evenly from first to last; Unix seconds."""

    first_started_at: float
    last_started_at: float
    requests: float

    def between(self, since: float, until: float) -> float:
        """
        How many of the requests started from *since* until *until*, Unix seconds.

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
    One period in which a name served.

    Attributes:
        traffic: Its requests over time, oldest first; never empty.
        ended_at: When its silence had shown that it was over, or when somebody said so, Unix seconds; None until then.
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
        """Requests of all spells before each one, and of all."""
        return [*accumulate((spell.requests for spell in self.traffic), initial=0.0)]

    def is_over(self, at: float) -> bool:
        """Whether its end had shown at *at*, Unix seconds."""
        return self.ended_at is not None and self.ended_at <= at


def growth_times(
    traffic: Sequence[Traffic], since: float, until: float, *, counted: float, growth: float
) -> Iterator[tuple[float, float]]:
    """
    When the requests since *since* had grown by *growth* (a ratio, at least five requests), again and again.

    Args:
        traffic: Requests over time, oldest first.
        since: Where counting begins, Unix seconds.
        until: Where it ends, Unix seconds.
        counted: Requests at which to begin.
        growth: From one time to the next.

    Yields:
        Unix seconds and the requests by then.

    >>> list(growth_times([Traffic(0.0, 100.0, 50)], 0.0, 100.0, counted=20, growth=0.5))
    [(60.0, 30.0), (90.0, 45.0)]
    """
    before = 0.0
    wanted = max(counted * (1 + growth), counted + _FEWEST_MORE)
    for spell in traffic:
        more = spell.between(since, until)
        first, last = max(spell.first_started_at, since), min(spell.last_started_at, until)
        while more and before + more >= wanted:
            yield first + (wanted - before) / more * (last - first), wanted
            wanted = max(wanted * (1 + growth), wanted + _FEWEST_MORE)
        before += more


@dataclass(frozen=True)
class ServiceTraffic:
    """
    What all versions of a service served, to tell the silence of one from that of all.

    A deployment is over when others served for *silence_seconds* since its last request, and so often that it should
    have had ten requests at its rate so far. Time in which nobody serves is no silence.

    Attributes:
        traffic: Requests of each version over time, oldest first.
        ends: When somebody said that what serves under a name was over, Unix seconds, in order.
        silence_seconds: Infinite where silence says nothing.
        min_requests: With fewer than these, the rate of a deployment is not known.
        late_seconds: How much later than others' the requests of a version arrive: its silence is counted from there.
    """

    traffic: Mapping[str, Sequence[Traffic]]
    ends: Mapping[str, Sequence[float]]
    silence_seconds: float
    min_requests: int
    late_seconds: Mapping[str, float]

    def deployments(self) -> Sequence[Deployment]:
        """The deployments of all versions, in order of their first requests."""
        found = [each for name in self.traffic for each in self._deployments(name, self.ends.get(name, ()))]
        return sorted(found, key=lambda each: (each.first_started_at, each.model_version))

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
        """When what *served* was over, if that was before the next request of the name at *until*."""
        said = next((end for end in ends if served[-1].last_started_at <= end <= until), math.inf)
        ended_at = min(said, self._silent_at(name, served, until))
        return None if math.isinf(ended_at) else ended_at

    def _silent_at(self, name: str, served: Sequence[Traffic], until: float) -> float:
        """When the others had served for long enough without *name*; infinite where they have not."""
        since = reached = served[-1].last_started_at
        # Between two requests that are there, all of it is silence.
        silence = self.silence_seconds + (self.late_seconds[name] if math.isinf(until) else 0.0)
        if min(until, self._reach[-1]) - since < silence:
            return math.inf
        needed = self._missed(name, served)
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

    def _missed(self, name: str, served: Sequence[Traffic]) -> float:
        """
        Requests of others in which *name* should have had enough of its own to be missed.

        Each of n requests is another's by chance with probability others / (others + own). A share may have fallen
        lately, and to a half without any sign: the smallest of these counts.
        """
        if sum(spell.requests for spell in served) < self.min_requests:
            return _MISSED_BY_FEW
        reached = accumulate(spell.requests for spell in reversed(served))
        latest = next(number for number, total in enumerate(reached, 1) if total >= self.min_requests)
        odds = min(_EVEN, self._odds(name, served), self._odds(name, served[-latest:]))
        return _MISSED / math.log1p(odds)

    def _odds(self, name: str, served: Sequence[Traffic]) -> float:
        """Requests of *name* for each one of others meanwhile."""
        since, until = served[0].first_started_at, served[-1].last_started_at
        spells = (Traffic(*spell) for *spell, other in self._all if other != name)
        others = sum(spell.between(since, until) for spell in spells)
        return sum(spell.requests for spell in served) / others if others else math.inf


def _cut(spells: Iterable[Traffic], ends: Sequence[float]) -> Iterator[Traffic]:
    """*spells* in pieces none of which goes beyond one of *ends*."""
    for spell in spells:
        rest = spell
        for end in ends:
            if rest.first_started_at < end < rest.last_started_at:
                before = rest.between(rest.first_started_at, end)
                yield Traffic(rest.first_started_at, end, before)
                rest = Traffic(end, rest.last_started_at, rest.requests - before)
        yield rest
