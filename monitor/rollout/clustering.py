"""Design effects: how many clustered requests carry the information of one independent request."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.rollout.cohort import ClusterSums, Cohort, SharedClusterSums, TierGroup

_PRIOR_CORRELATION = 0.3
_PRIOR_CLUSTERS = 20.0
_T_CORRECTION = 6.0  # at 3.1, the square of Student's t exceeds that of the normal deviate by about 6 / clusters


def design_effects(cohort: Cohort) -> Mapping[TierGroup, tuple[float, float]]:
    """
    Variance of each arm's failure rate over the variance with independent requests, by group; at least 1.

    The intra-cluster correlation is estimated from both arms together, because a small canary has too few clusters.
    With few clusters in all, it is shrunk towards a cautious value, unless both arms served the same clusters: these
    are as hard in one arm as in the other, and their covariance is subtracted. If an arm's clusters vary more than a
    correlation of 1 explains, their observed variance counts instead, so that one large cluster that fails as a whole
    does not count as many failures.

    Source:
        Rao and Scott (1981), J. Am. Stat. Assoc. 76:221; Kish (1965) for clusters of unequal size; Liang and Zeger
        (1986), Biometrika 73:13, for what an arm's own clusters show.
    """
    baseline = {sums.group: sums for sums in cohort.baseline.clusters}
    candidate = {sums.group: sums for sums in cohort.candidate.clusters}
    shared = {sums.group: sums for sums in cohort.shared_clusters}
    return {
        group: _effects(baseline[group], candidate[group], shared.get(group))
        if group in baseline and group in candidate
        else (1.0, 1.0)
        for group in TierGroup
    }


def _effects(baseline: ClusterSums, candidate: ClusterSums, shared: SharedClusterSums | None) -> tuple[float, float]:
    has_variance = any(0 < arm.failures < arm.requests for arm in (baseline, candidate))
    if not has_variance or not baseline.requests or not candidate.requests:
        return 1.0, 1.0
    correlation = correlation_of(baseline, candidate, shared)
    effects = []
    for arm in (baseline, candidate):
        mean_size, observed = arm.requests_squared / arm.requests, _spread(arm) / arm.requests
        effects.append(observed if observed > mean_size else 1.0 + correlation * (mean_size - 1.0))
    rates = [(arm.failures / arm.requests, arm.requests) for arm in (baseline, candidate)]
    variances = [effect * p * (1 - p) / n for effect, (p, n) in zip(effects, rates, strict=True)]
    remaining = 1.0
    if shared is not None and sum(variances) > 0:
        remaining = max(1.0 - 2.0 * _covariance(baseline, candidate, shared) / sum(variances), 0.0)
    return max(1.0, round(effects[0] * remaining, 9)), max(1.0, round(effects[1] * remaining, 9))


def correlation_of(baseline: ClusterSums, candidate: ClusterSums, shared: SharedClusterSums | None) -> float:
    """Intra-cluster correlation of two requests, 0 to 1: mean product of their deviations over the variance."""
    # Overlap of the clusters of both arms: the cosine of their counts by cluster.
    norm = (baseline.requests_squared * candidate.requests_squared) ** 0.5
    overlap = min(shared.requests_requests / norm, 1.0) if shared is not None and norm > 0 else 0.0
    prior_clusters = _PRIOR_CLUSTERS * (1.0 - overlap)
    products = pairs = clusters = 0.0
    for arm in (each for each in (baseline, candidate) if 0 < each.failures < each.requests):
        products += _spread(arm) * arm.clusters / max(arm.clusters - 1, 1) - arm.requests
        pairs += arm.requests_squared - arm.requests
        clusters += arm.clusters
    prior = prior_clusters * pairs / max(clusters, 1.0)
    if pairs <= 0:
        return 0.0
    correlation = (products + _PRIOR_CORRELATION * prior) / (pairs + prior)
    return min(max(correlation * (1 + _T_CORRECTION / clusters), 0.0), 1.0)


def _spread(arm: ClusterSums) -> float:
    """Squared deviations of the clusters' failures over the variance of one request; 0 if all requests fail or none."""
    rate = arm.failures / arm.requests
    squares = arm.failures_squared - 2 * rate * arm.requests_failures + rate**2 * arm.requests_squared
    return squares / (rate * (1 - rate)) if 0 < rate < 1 else 0.0


def _covariance(baseline: ClusterSums, candidate: ClusterSums, shared: SharedClusterSums) -> float:
    """Covariance of the failure rates of both arms, from the clusters that both served."""
    before, after = baseline.failures / baseline.requests, candidate.failures / candidate.requests
    products = (
        shared.failures_failures
        - after * shared.failures_requests
        - before * shared.requests_failures
        + before * after * shared.requests_requests
    )
    return max(products, 0.0) / (baseline.requests * candidate.requests)
