"""Matches the arms: the same hours, and rows of requests that were similar before they were answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from monitor.difficulty.tiers import TIERS, Tier
from monitor.rollout.cohort import LEAST_EXPECTED, SPAN_HOURS, Cohort, Comparison, Stratum, TiersBy, hours_alone
from monitor.rollout.confidence_sequence import Counts
from monitor.trace.grouping import added_up

_Array = NDArray[np.float64]
_Mask = NDArray[np.bool_]

_Slots = tuple[int, int]
"""Length of a time slot in hours, and the number of slots after which they repeat (168 for the hours of a week)."""

_NEVER = 2**62
_EACH_HOUR, _SPANS, _DAYS = (1, _NEVER), (SPAN_HOURS, _NEVER), (24, _NEVER)
_HOURS_OF_WEEK, _HOURS_OF_DAY, _ANY = (1, 168), (1, 24), (1, 1)
_LEAST_COVERED, _LEAST_SHARED = 0.9, 0.5
_MOST_PER_LABEL = 10.0  # labels of the candidate that one of the baseline represents in a slot
_HARDLY_ANY = 0.1  # of the expected requests: with fewer, the arm does not serve the class
_RENAMED = 1.25  # largest ratio of what only one arm serves to what only the other serves, if classes were renamed
_NONE = Counts(0.0, 0.0)
_RENAMED_CLASS = ""
"""The one class that holds all requests of renamed classes."""


@dataclass(frozen=True, slots=True)
class Row:
    """Similar requests, by what is known before they are answered; the arms are compared row by row."""

    tier: Tier
    capability: str
    bin: int
    is_known: bool
    is_probe: bool = False


@dataclass(frozen=True)
class Matched:
    """
    Both arms at the same hours, by row.

    The first axis of every array is the arm, baseline first; the second is the row.

    Attributes:
        comparison: Whether both arms served in these hours, or the baseline in the same hours of earlier weeks.
        traffic: Weighted requests, labelled or not.
        represented: Weighted requests that are labelled or represented by labelled ones.
        requests, failures: Effective labelled requests and failures (Kish).
        logit, variance: Mean difficulty logit and its mean posterior variance.
        alone: The candidate's labelled requests, and failures, of kinds that the baseline does not serve.
        renamed: Classes that have another name in the other arm: their requests are compared as one class.
        hours_alone: Time that the candidate has served alone, after both arms served; hours.
    """

    comparison: Comparison
    rows: Sequence[Row]
    traffic: _Array
    represented: _Array
    requests: _Array
    failures: _Array
    logit: _Array
    variance: _Array
    alone: Counts = _NONE
    renamed: Collection[str] = ()
    hours_alone: int = 0

    @cached_property
    def known(self) -> _Mask:
        """Rows of known requests, shape (rows,)."""
        return np.array([row.is_known for row in self.rows], dtype=bool)

    @cached_property
    def tier(self) -> NDArray[np.int_]:
        """Index of each row's tier in `TIERS`, shape (rows,); -1 for untiered requests."""
        return np.array([TIERS.index(row.tier) if row.tier in TIERS else -1 for row in self.rows], dtype=int)

    @cached_property
    def has_tag(self) -> _Mask:
        """Rows with a difficulty, shape (rows,). A request may have one although no single tier is likely enough."""
        has_tag: _Mask = (self.tier >= 0) | (self.variance.max(axis=0) > 0)
        return has_tag

    def of_tiers(self, tiers: Collection[Tier]) -> _Mask:
        """Rows of *tiers* among `TIERS`, shape (rows,)."""
        chosen: _Mask = np.array([*(tier in tiers for tier in TIERS), False])[self.tier]
        return chosen

    def compare(self, chosen: _Mask) -> tuple[Counts, Counts] | None:
        """
        Counts of both arms over the *chosen* rows, each row with the same weight in both; None without a common row.

        A row weighs n m / (n + m) with n and m represented requests in the arms. If all are labelled, these weights
        give the difference its least variance.

        Source:
            Weights of Mantel and Haenszel (1959); effective size by Kish (1965), "Survey Sampling".
        """
        chosen = chosen & (np.minimum(self.represented, self.requests).min(axis=0) > 0)
        represented, requests, failures = (c[:, chosen] for c in (self.represented, self.requests, self.failures))
        if requests.shape[1] == 0:
            return None
        weight = represented.prod(axis=0) / represented.sum(axis=0)
        size = weight.sum() ** 2 / (weight**2 / requests).sum(axis=1)
        rate = (failures / requests) @ weight / weight.sum()
        baseline, candidate = (Counts(float(n), float(n * p)) for n, p in zip(size, rate, strict=True))
        return baseline, candidate

    def with_rows(self, other: Matched) -> Matched:
        """These rows, then those of *other*."""
        arrays = ("traffic", "represented", "requests", "failures", "logit", "variance")
        both: dict[str, Any] = {
            name: np.concatenate((getattr(self, name), getattr(other, name)), axis=1) for name in arrays
        }
        return replace(self, rows=[*self.rows, *other.rows], **both)

    @property
    def columns(self) -> tuple[_Array, _Array, _Array]:
        """Traffic, labelled requests and failures."""
        return self.traffic, self.requests, self.failures


def match(cohort: Cohort) -> Matched:
    """
    The arms of *cohort*, weighted to the same hours.

    With n and m labelled requests of baseline and candidate in an hour, a request of the baseline weighs m / (n + m)
    and one of the candidate n / (n + m). Both arms then have the same distribution over hours, and an hour that one arm
    lacks weighs nothing. Time slots are longer than an hour if the arms share too few hours: six hours if less than
    half of the candidate's labels are in shared hours, days if no hour is shared. Arms that serve one after the other
    are matched by the hour of the week, else by the hour of the day, else not at all, depending on what the baseline
    covers.

    If the classes that only one arm serves have about as many requests as those that only the other serves, a version
    has renamed its classes, and all of them are compared as one class.

    Source:
        Overlap weights of Li, Morgan and Zaslavsky (2018), J. Am. Stat. Assoc. 113:390, by hour.
    """
    labelled = [_by_slot(((s.block, s.evidence[0]) for s in arm.strata), _EACH_HOUR) for arm in cohort.arms]
    comparison, slots = _shared_slots(cohort.comparison, labelled)
    old, new = (_by_slot(of_arm.items(), slots) for of_arm in labelled)
    both = {slot: (old[slot], new[slot]) for slot in new if new[slot] and old[slot]}
    weights = {slot: (m / (n + m), n / (n + m)) for slot, (n, m) in both.items()}
    rows, alone, renamed = _rows_by_kind(cohort)
    index: dict[_Kind, int] = {}
    places, weighted = [], []
    for side, arm in enumerate(cohort.arms):
        weights_at = {block: weights.get(_slot(block, slots)) for block in labelled[side]}
        for each in arm.strata:
            if (weight_of := weights_at[each.block]) is not None:
                places.append((side, index.setdefault(rows[_kind(each)], len(index))))
                sums = (each.requests, each.represented, *each.evidence, each.logit_sum, each.variance_sum)
                weighted.append((weight_of[side], *sums))
    place = tuple(np.array(places, dtype=int).reshape(-1, 2).T)
    weight, *columns = np.array(weighted, dtype=float).reshape(-1, 7).T
    totals = np.zeros((7, 2, len(index)))
    for total, column in zip(totals, (*columns, weight * columns[2]), strict=True):
        np.add.at(total, place, weight * column)
    traffic, represented, labels, failed, logits, variances, squared_weights = totals
    scale = labels / np.maximum(squared_weights, 1e-300)
    whole = np.maximum(traffic, 1e-300)
    return Matched(
        comparison=comparison,
        rows=[Row(*key) for key in index],
        traffic=traffic,
        represented=represented * scale,
        requests=labels * scale,
        failures=failed * scale,
        logit=logits / whole,
        variance=variances / whole,
        alone=alone,
        renamed=renamed,
        hours_alone=hours_alone(*(of_arm.items() for of_arm in labelled)) if comparison is Comparison.CONCURRENT else 0,
    )


_Kind = tuple[Tier, str, int, bool]
"""Tier, capability, difficulty bin and `is_known` of a request; a plain tuple, since each stratum looks one up."""


def _kind(stratum: Stratum) -> _Kind:
    return stratum.tier, stratum.capability, stratum.bin, stratum.is_known


def _rows_by_kind(cohort: Cohort) -> tuple[Mapping[_Kind, _Kind], Counts, Collection[str]]:
    """
    The row in which each kind of request is compared, then `Matched.alone` and `Matched.renamed`.

    If the kinds that only one arm serves have about as many requests as those that only the other serves, the arms are
    tagged differently, and these kinds are compared by class alone. Requests of renamed classes are compared by their
    declared tier alone.
    """
    labelled = [added_up((_kind(stratum), stratum.labelled) for stratum in arm.strata) for arm in cohort.arms]
    classes = [added_up((capability, n) for (_, capability, _, _), n in of_arm.items()) for of_arm in labelled]
    of_one_arm, classes_alone, renamed = _in_one_arm(classes)
    shared = [{kind: n for kind, n in of_arm.items() if kind[1] not in of_one_arm} for of_arm in labelled]
    _, kinds_alone, retagged = _in_one_arm(shared)
    alone = [s for s in cohort.candidate.strata if s.capability in classes_alone or _kind(s) in kinds_alone]
    rows = {kind: kind for of_arm in labelled for kind in of_arm}
    for kind in rows:
        tier, capability, _, _ = kind
        if capability in renamed:
            rows[kind] = (tier if cohort.tiers_by is TiersBy.DECLARED else Tier.UNTIERED, _RENAMED_CLASS, 0, False)
        elif kind in retagged:
            rows[kind] = (Tier.UNTIERED, capability, 0, False)
    return rows, Counts(sum(s.labelled for s in alone), sum(s.failures for s in alone)), renamed


_Key = TypeVar("_Key")


def _in_one_arm(labelled: Sequence[Mapping[_Key, int]]) -> tuple[Collection[_Key], Collection[_Key], Collection[_Key]]:
    """
    The keys that hardly occur in one of the arms.

    Args:
        labelled: Labelled requests of baseline and candidate, by key.

    Returns:
        All such keys; those of the candidate, unless keys were renamed; all of them if keys were renamed. Renamed
        means that both arms have such keys, with about equal shares of the requests.
    """
    totals = [sum(of_arm.values()) for of_arm in labelled]
    only: list[dict[_Key, float]] = []
    for own, other, total, other_total in zip(labelled, reversed(labelled), totals, reversed(totals), strict=True):
        expected = {key: number / max(total, 1) * other_total for key, number in own.items()}
        lacking = (key for key, n in expected.items() if n >= LEAST_EXPECTED and other.get(key, 0) < _HARDLY_ANY * n)
        only.append({key: own[key] / max(total, 1) for key in lacking})
    before, after = (sum(shares.values()) for shares in only)
    is_renamed = min(before, after) > 0 and max(before, after) <= _RENAMED * min(before, after)
    either = {*only[0], *only[1]}
    return either, () if is_renamed else only[1], either if is_renamed else ()


_ByBlock = Sequence[Mapping[int, float]]
"""Labelled requests of both arms, by the hour in which they started."""


def _shared_slots(comparison: Comparison, labelled: _ByBlock) -> tuple[Comparison, _Slots]:
    """The shortest time slots in which the arms share enough labels, and the comparison that they make possible."""
    if not all(sum(of_arm.values()) for of_arm in labelled):
        return comparison, _EACH_HOUR
    if comparison is Comparison.CONCURRENT:
        shared = {slots: _covered(labelled, slots, _NEVER) for slots in (_EACH_HOUR, _SPANS, _DAYS)}
        if shared[_EACH_HOUR] < _LEAST_SHARED and shared[_SPANS] >= _LEAST_COVERED:
            return Comparison.CONCURRENT, _SPANS
        for slots in (_EACH_HOUR, _DAYS):
            if shared[slots] > 0:
                return Comparison.CONCURRENT, slots
    periods = (_HOURS_OF_WEEK, _HOURS_OF_DAY)
    enough = (slots for slots in periods if _covered(labelled, slots, _MOST_PER_LABEL) >= _LEAST_COVERED)
    return Comparison.BEFORE_AFTER, next(enough, _ANY)


def _covered(labelled: _ByBlock, slots: _Slots, most: float) -> float:
    """Share of the candidate's labels that share a slot with the baseline, at most *most* per label of the baseline."""
    baseline, candidate = (_by_slot(of_arm.items(), slots) for of_arm in labelled)
    represented = sum(min(number, most * baseline[slot]) for slot, number in candidate.items())
    return represented / max(sum(candidate.values()), 1e-300)


def _by_slot(by_block: Iterable[tuple[int, float]], slots: _Slots) -> Mapping[int, float]:
    return added_up((_slot(block, slots), number) for block, number in by_block)


def _slot(block: int, slots: _Slots) -> int:
    length, period = slots
    return block // length % period


def mantel_haenszel(requests: _Array, failures: _Array) -> tuple[float, float] | None:
    """
    The common log odds ratio of failing over all rows, candidate over baseline, and its variance.

    A uniform gain in logits changes it by the same amount for hard and for easier requests.

    Args:
        requests: Labelled requests of baseline and candidate by row, shape (2, rows).
        failures: Failures among them, shape (2, rows).

    Returns:
        None if an arm has no failure or no pass in common rows.

    Source:
        Mantel and Haenszel (1959); variance of Robins, Breslow and Greenland (1986), Biometrics 42:311.
    """
    total = np.maximum(requests.sum(axis=0), 1e-300)
    passes = requests - failures
    up = failures[1] * passes[0] / total
    down = failures[0] * passes[1] / total
    along, across = (failures[1] + passes[0]) / total, (failures[0] + passes[1]) / total
    ups, downs = float(up.sum()), float(down.sum())
    if ups <= 0 or downs <= 0:
        return None
    variance = (
        float(along @ up) / (2 * ups**2)
        + float(along @ down + across @ up) / (2 * ups * downs)
        + float(across @ down) / (2 * downs**2)
    )
    return float(np.log(ups / downs)), variance
