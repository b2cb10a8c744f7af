from __future__ import annotations

from typing import Any

from monitor.difficulty.tiers import Tag, Tier
from monitor.ledger.ledger import ProbeResult, TaggedTrace
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import Outcome
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    failure,
    success,
    tagged,
)


def test_history_leaves_out_versions_under_comparison(ledger: SqlLedger) -> None:
    """Only labelled requests of other versions teach, oldest version first, and as many as asked for."""
    for number, version in enumerate(("model-1", "model-2", "model-3")):
        events = [
            tagged(
                a_trace(
                    f"{version}-{n}",
                    model_version=version,
                    request_id=f"item-{n}",
                    started_at=NOON + 100 * number + n,
                    outcome=failure() if n else success(),
                )
            )
            for n in range(3)
        ]
        ledger.record(a_batch(*events, tagged(a_trace(f"{version}-unlabelled", model_version=version))))

    history = list(ledger.history(exclude={"model-2"}, limit=2))

    assert [(request.model_version, request.features.item) for request in history] == [
        ("model-1", "item-1"),
        ("model-1", "item-2"),
        ("model-3", "item-1"),
        ("model-3", "item-2"),
    ]
    assert all(request.failed for request in history)
    assert 6 == ledger.history_labels(exclude={"model-2"})


def test_labels_of_a_version_are_its_latest_matured_ones(ledger: SqlLedger) -> None:
    """Of all environments together, in the order of the requests, as many as asked for, and of no other version."""
    events = [
        tagged(
            a_trace(
                f"{environment}-{version}-{n}",
                environment=environment,
                model_version=version,
                request_id=f"{environment}-{n}",
                started_at=NOON + 10 * n + (environment == "probes"),
                outcome=failure() if n % 2 else success(),
            )
        )
        for environment in ("production", "probes")
        for version in ("model-1", "model-2")
        for n in range(4)
    ]
    ledger.record(a_batch(*events, tagged(a_trace("unlabelled", model_version="model-1", started_at=NOON + 5))))

    labels = ledger.labels_of("model-1", matured_before=NOON + 30, limit=3)

    assert [(label.features.item, label.failed) for label in labels] == [
        ("probes-1", True),
        ("production-2", False),
        ("probes-2", False),
    ]
    assert {"model-1"} == {label.model_version for label in labels}
    assert [] == list(ledger.labels_of("model-3", matured_before=NOON + 30, limit=3))


def test_requests_that_name_themselves_are_listed(ledger: SqlLedger) -> None:
    """Each once, with how often it was asked, whoever answered; requests without a name are left out."""
    ledger.record(
        a_batch(
            tagged(a_trace("t1", request_id="i2")),
            tagged(a_trace("t2", request_id="i1", environment="probes")),
            tagged(a_trace("t3", request_id="i1", model_version="model-2")),
            tagged(a_trace("t4")),
        )
    )

    listed = [(features.capability, features.item, requests) for features, requests in ledger.items()]

    assert [("search", "i1", 2), ("search", "i2", 1)] == listed


def test_probe_results_tell_how_versions_did(ledger: SqlLedger) -> None:
    """Runs of the environments `reference` and `probes`, by probe and version, earliest version first."""
    ledger.record(
        a_batch(
            tagged(a_trace("t1", request_id="i1", environment="probes", outcome=failure())),
            tagged(a_trace("t2", request_id="i1", environment="probes", outcome=success())),
            tagged(a_trace("t3", request_id="i1", environment="probes")),
            tagged(
                a_trace(
                    "t4",
                    request_id="i1",
                    environment="reference",
                    model_version="older",
                    started_at=NOON - 9,
                    outcome=success(),
                )
            ),
            tagged(a_trace("t5", request_id="i1", environment="production", outcome=failure())),
            tagged(a_trace("t6", environment="probes", outcome=failure())),
        )
    )

    assert [
        ProbeResult("i1", "search", "older", NOON - 9, runs=1, labelled=1, failures=0),
        ProbeResult("i1", "search", "model-1", NOON, runs=3, labelled=2, failures=1),
    ] == list(ledger.probe_results())


PASSED, FAILED = success(labelled_at=None), failure()


def _run(trace_id: str, item: str, outcome: Outcome, at: float, version: str, **further: Any) -> TaggedTrace:
    trace = a_trace(
        trace_id,
        request_id=item,
        environment=further.get("environment", "probes"),
        model_version=version,
        started_at=at,
        outcome=outcome,
    )
    return tagged(trace, Tag(further.get("tier", Tier.FRONTIER), 3.0, 0.1, is_known=True, bin=9, calibration_id="c"))


def test_a_frontier_probe_falls_to_the_first_version_that_passes_it(ledger: SqlLedger) -> None:
    """Of probes that failed until then, dated by the label; later passes and other tiers do not count."""
    ledger.record(
        a_batch(
            _run("a1", "fallen", FAILED, NOON, "m-1"),
            _run("a2", "fallen", PASSED, NOON + 5, "m-2"),
            _run("a3", "fallen", PASSED, NOON + 9, "m-3"),
            _run("b1", "never failed", PASSED, NOON + 6, "m-2"),
            _run("c1", "passed in the past", PASSED, NOON - 9, "older", environment="reference"),
            _run("c2", "passed in the past", FAILED, NOON - 8, "m-1"),
            _run("c3", "passed in the past", PASSED, NOON + 7, "m-2"),
            _run("d1", "not of the frontier", FAILED, NOON, "m-1", tier=Tier.HARD),
            _run("d2", "not of the frontier", PASSED, NOON + 8, "m-2", tier=Tier.HARD),
            _run("e1", "stands", FAILED, NOON, "m-1"),
            _run("f1", "failed in the past", FAILED, NOON - 9, "older", environment="reference"),
            _run("f2", "failed in the past", success(labelled_at=NOON + 70), NOON + 8, "m-3"),
        )
    )

    assert {("shop", "m-2", "search"): NOON + 5, ("shop", "m-3", "search"): NOON + 70} == ledger.frontier_solved()
