"""Every surface shows the numbers of the one verdict; the same is held on a real rollout with a real Prometheus."""

from __future__ import annotations

from monitor.metrics.collect import collect_rollouts
from monitor.metrics.exposition import families
from monitor.output.rollouts import rollout_json
from monitor.web.page.pages import Page
from tests.metrics.client_library import theirs
from tests.metrics.same_numbers import expected_samples, page_words
from tests.metrics.snapshots import a_record, a_snapshot, a_verdict
from tests.web.page.reading import words

ROLLOUT_LABELS = {"service", "environment", "baseline", "candidate"}
TOLD_ELSEWHERE = {
    "cliffwatch_rollout_info",
    "cliffwatch_rollout_start_timestamp_seconds",
    "cliffwatch_rollout_hard_share_ratio",
    "cliffwatch_rollout_capability_failure_ratio",
    "cliffwatch_rollout_class_failure_ratio",
    "cliffwatch_rollout_capability_regressed",
}
"""The JSON has no capability classes and no bounds of each arm's share; starts are dates there."""


def test_metrics_show_the_numbers_of_the_json() -> None:
    """Every number in full, and none that the JSON does not have."""
    snapshot = a_snapshot(rollouts=[a_record(a_verdict())])

    samples = {
        (sample.name, frozenset((name, word) for name, word in sample.labels.items() if name not in ROLLOUT_LABELS)): (
            sample.value
        )
        for family in theirs(families(collect_rollouts(snapshot)))
        for sample in family.samples
        if sample.name.startswith("cliffwatch_rollout_") and sample.name not in TOLD_ELSEWHERE
    }

    assert expected_samples(rollout_json(snapshot.rollouts[0])) == samples


def test_the_page_of_a_rollout_shows_the_numbers_of_the_json() -> None:
    """Rounded as a person reads them."""
    snapshot = a_snapshot(rollouts=[a_record(a_verdict())])

    page = words(Page(snapshot).rollout(snapshot.rollouts[0], ()))

    assert set() == {word for word in page_words(rollout_json(snapshot.rollouts[0])) if word not in page}
