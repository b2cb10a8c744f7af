"""Like with like: both arms at the same hours, and inside groups of requests that were alike beforehand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from monitor.difficulty.tiers import TIERS, Tier
from monitor.rollout.cohort import LEAST_EXPECTED, SPAN_HOURS, Cohort, Comparison, Stratum, TiersBy, hours_alone
from monitor.rollout.confidence_sequence import Counts

_Array = NDArray[np.float64]
_Mask = NDArray[np.bool_]

_Hours = tuple[int, int]
"""How many hours in a row are compared as one, and after how many such the same ones come again."""

_NEVER = 2**62
_EACH_HOUR, _SPANS, _DAYS = (1, _NEVER), (SPAN_HOURS, _NEVER), (24, _NEVER)
_HOURS_OF_WEEK, _HOURS_OF_DAY, _ANY = (1, 168), (1, 24), (1, 1)
_LEAST_COVERED, _LEAST_SHARED = 0.9, 0.5
_STANDS_FOR = 10.0  # labels of the candidate that one of the baseline may stand for: in an hour with fewer it is absent
_HARDLY_ANY = 0.1  # of those: the arm does not serve the class
_RENAMED = 1.25  # factor within which what only one arm serves is as much as what only the other does
_NONE = Counts(0.0, 0.0)
_ELSEWHERE = ""
"""The one class of all requests whose classes are named otherwise in the other arm."""


@dataclass(frozen=True, slots=True)
class Row:
    """What makes requests alike before they are answered; under these an arm is compared with the other."""

    tier: Tier
    capability: str
    bin: int
    is_known: bool
    is_probe: bool = False


@dataclass(frozen=True)
class Matched:
    """
    Both arms at the same hours, grouped by what was known of a request beforehand.

    The first axis of every array is the arm, baseline first; the second is the row.

    Attributes:
        comparison: Whether the hours are the same ones, or the same of earlier weeks.
        traffic: Weighted requests, labelled or not.
        represented: Requests that are labelled or that labelled ones stand for, likewise.
        requests, failures: Labelled requests and failures, as many as say the same without weights.
        logit, variance: Mean difficulty logit and its mean posterior variance.
        alone: The candidate's labelled requests, and failures, of kinds that the baseline does not serve.
        renamed: Classes that are named otherwise in the other arm: their requests are compared as one class.
        hours_alone: How long the candidate has served alone, after both arms served; hours.
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
        """Place of each row's tier in `TIERS`, shape (rows,); -1 for untiered requests."""
        return np.array([TIERS.index(row.tier) if row.tier in TIERS else -1 for row in self.rows], dtype=int)

    @cached_property
    def has_tag(self) -> _Mask:
        """Requests too unlike the history for one tier have a difficulty all the same; unseen ones have none."""
        has_tag: _Mask = (self.tier >= 0) | (self.variance.max(axis=0) > 0)
        return has_tag

    def of_tiers(self, tiers: Collection[Tier]) -> _Mask:
        """Rows of *tiers* among `TIERS`, shape (rows,)."""
        chosen: _Mask = np.array([*(tier in tiers for tier in TIERS), False])[self.tier]
        return chosen

    def compare(self, chosen: _Mask) -> tuple[Counts, Counts] | None:
        """
        Both arms over the *chosen* rows, each row with the same weight in both; None without a common row.

        A row weighs n m / (n + m) with n and m requests in the arms, however many of them are labelled: where labels
        are complete, that is where their difference is known best.

        Source:
            Weights of Mantel and Haenszel (1959); effective size by Kish (1965), "Survey Sampling".
        """
        chosen = chosen & (np.minimum(self.represented, self.requests).min(axis=0) > 0)
        represented, requests, failures = (each[:, chosen] for each in (self.represented, *self.columns[1:]))
        if requests.shape[1] == 0:
            return None
        weight = represented.prod(axis=0) / represented.sum(axis=0)
        size = weight.sum() ** 2 / (weight**2 / requests).sum(axis=1)
        rate = (failures / requests) @ weight / weight.sum()
        baseline, candidate = (Counts(float(n), float(n * p)) for n, p in zip(size, rate, strict=True))
        return baseline, candidate

    def beside(self, other: Matched) -> Matched:
        """The rows of both, each compared by itself."""
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
    The arms of *cohort* at the same hours.

    A request of the baseline weighs m / (n + m), one of the candidate n / (n + m), with n and m labelled requests of
    the arms in its hour: both arms then have the same hours, and an hour that one arm missed weighs nothing. Where
    requests are so few, or the arms serve in turns, that less than half of the candidate's are in hours of both, spans
    of six hours serve as one; where labels are so rare that they share no hour, days. Arms that serve one after the
    other are matched by the hour of the week; where the baseline has seen too little of the candidate's, by the hour of
    the day, else not at all. Where as many requests are of classes that only the
    one arm serves as of those that only the other does, a version has renamed its classes, and they are compared as
    one.

    Source:
        Overlap weights of Li, Morgan and Zaslavsky (2018), J. Am. Stat. Assoc. 113:390, by hour.
    """
    labelled = [_by_hour(((s.block, s.evidence[0]) for s in arm.strata), _EACH_HOUR) for arm in cohort.arms]
    comparison, hours = _alike_hours(cohort.comparison, labelled)
    old, new = (_by_hour(of_arm.items(), hours) for of_arm in labelled)
    both = {hour: (old[hour], new[hour]) for hour in new if new[hour] and old[hour]}
    weights = {hour: (m / (n + m), n / (n + m)) for hour, (n, m) in both.items()}
    rows, alone, renamed = _counterparts(cohort)
    index: dict[_Kind, int] = {}
    places, counted = [], []
    for side, arm in enumerate(cohort.arms):
        weights_at = {block: weights.get(_hour(block, hours)) for block in labelled[side]}
        for each in arm.strata:
            if (weight_of := weights_at[each.block]) is not None:
                places.append((side, index.setdefault(rows[_kind(each)], len(index))))
                sums = (each.requests, each.represented, *each.evidence, each.logit_sum, each.variance_sum)
                counted.append((weight_of[side], *sums))
    place = tuple(np.array(places, dtype=int).reshape(-1, 2).T)
    weight, *columns = np.array(counted, dtype=float).reshape(-1, 7).T
    added = np.zeros((7, 2, len(index)))
    for total, column in zip(added, (*columns, weight * columns[2]), strict=True):
        np.add.at(total, place, weight * column)
    traffic, represented, labels, failed, logits, variances, squared = added
    scale = labels / np.maximum(squared, 1e-300)
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
        hours_alone=hours_alone(*labelled) if comparison is Comparison.CONCURRENT else 0,
    )


_Kind = tuple[Tier, str, int, bool]


def _kind(stratum: Stratum) -> _Kind:
    return stratum.tier, stratum.capability, stratum.bin, stratum.is_known


def _counterparts(cohort: Cohort) -> tuple[Mapping[_Kind, _Kind], Counts, Collection[str]]:
    """
    As what each kind of requests is compared, and `Matched.alone` and `Matched.renamed`.

    A kind that only one arm serves is compared by its class where as many are of kinds that only the other does: the
    arms are tagged otherwise. Likewise a class is compared by nothing but its tier, if that was declared.
    """
    labelled: list[dict[_Kind, int]] = [{}, {}]
    for of_arm, arm in zip(labelled, cohort.arms, strict=True):
        for stratum in arm.strata:
            kind = _kind(stratum)
            of_arm[kind] = of_arm.get(kind, 0) + stratum.labelled
    classes: list[Counter[str]] = [Counter(), Counter()]
    for of_class, of_arm in zip(classes, labelled, strict=True):
        for (_, name, _, _), number in of_arm.items():
            of_class[name] += number
    of_one_arm, classes_alone, renamed = _of_one_arm(classes)
    both = [{kind: n for kind, n in of_arm.items() if kind[1] not in of_one_arm} for of_arm in labelled]
    _, kinds_alone, tagged_otherwise = _of_one_arm(both)
    alone = [s for s in cohort.candidate.strata if s.capability in classes_alone or _kind(s) in kinds_alone]
    rows = {kind: kind for of_arm in labelled for kind in of_arm}
    for kind in rows:
        tier = kind[0] if cohort.tiers_by is TiersBy.DECLARED else Tier.UNTIERED
        if kind[1] in renamed:
            rows[kind] = (tier, _ELSEWHERE, 0, False)
        elif kind in tagged_otherwise:
            rows[kind] = (Tier.UNTIERED, kind[1], 0, False)
    return rows, Counts(sum(s.labelled for s in alone), sum(s.failures for s in alone)), renamed


_Key = TypeVar("_Key")


def _of_one_arm(labelled: Sequence[Mapping[_Key, int]]) -> tuple[Collection[_Key], Collection[_Key], Collection[_Key]]:
    """What only one arm serves: all of it, what the candidate alone does, and all where each arm has as much of it."""
    totals = [sum(of_arm.values()) for of_arm in labelled]
    only: list[dict[_Key, float]] = []
    for own, other, total, due in zip(labelled, reversed(labelled), totals, reversed(totals), strict=True):
        shares = {key: number / max(total, 1) for key, number in own.items()}
        only.append(
            {
                key: share
                for key, share in shares.items()
                if share * due >= LEAST_EXPECTED and other.get(key, 0) < _HARDLY_ANY * share * due
            }
        )
    before, after = (sum(each.values()) for each in only)
    as_much = min(before, after) > 0 and max(before, after) <= _RENAMED * min(before, after)
    either = {*only[0], *only[1]}
    return either, () if as_much else only[1], either if as_much else ()


_ByBlock = Sequence[Mapping[int, float]]
"""Labelled requests of both arms, by the hour in which they started."""


def _alike_hours(comparison: Comparison, labelled: _ByBlock) -> tuple[Comparison, _Hours]:
    """Each hour by itself; spans of six where arms with few requests, or in turns, share these but few hours."""
    if not all(sum(of_arm.values()) for of_arm in labelled):
        return comparison, _EACH_HOUR
    if comparison is Comparison.CONCURRENT:
        shared = {hours: _covered(labelled, hours, _NEVER) for hours in (_EACH_HOUR, _SPANS, _DAYS)}
        if shared[_EACH_HOUR] < _LEAST_SHARED and shared[_SPANS] >= _LEAST_COVERED:
            return Comparison.CONCURRENT, _SPANS
        for hours in (_EACH_HOUR, _DAYS):
            if shared[hours] > 0:
                return Comparison.CONCURRENT, hours
    periods = (_HOURS_OF_WEEK, _HOURS_OF_DAY)
    enough = (hours for hours in periods if _covered(labelled, hours, _STANDS_FOR) >= _LEAST_COVERED)
    return Comparison.BEFORE_AFTER, next(enough, _ANY)


def _covered(labelled: _ByBlock, hours: _Hours, most: float) -> float:
    """Share of the candidate's labels, at most so many for each of the baseline's in the same hours; ratio 0 to 1."""
    baseline, candidate = (_by_hour(of_arm.items(), hours) for of_arm in labelled)
    stood_for = sum(min(number, most * baseline[hour]) for hour, number in candidate.items())
    return stood_for / max(sum(candidate.values()), 1e-300)


def _by_hour(by_block: Iterable[tuple[int, float]], hours: _Hours) -> Mapping[int, float]:
    labelled: dict[int, float] = defaultdict(float)
    for block, number in by_block:
        labelled[_hour(block, hours)] += number
    return labelled


def _hour(block: int, hours: _Hours) -> int:
    length, period = hours
    return block // length % period


def mantel_haenszel(requests: _Array, failures: _Array) -> tuple[float, float] | None:
    """
    The log odds ratio of failing that all rows share, candidate over baseline, and its variance.

    A uniform gain in logits gives the same one to hard and easy requests.

    Args:
        requests: Of baseline and candidate by row, shape (2, rows).
        failures: The same.

    Returns:
        None where an arm has no failure or no pass in common rows.

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
