"""Captures and cases through a whole service: nothing is lost on the way, and failures stay with their version."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.cli import run_command
from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import model_version, request
from tests.trace.test_captures import CAPTURES, rows
from tests.traced import a_monitor

OUTAGE = Path(__file__).parent / "alias-outage.jsonl.gz"
VERSION, REQUESTS, FAILURES = "gpt-4-0125-preview", 1_350, 354
"""What the spans of the file say: those of an alias, of which some calls failed without saying which version served."""


@pytest.mark.parametrize("file", sorted(CAPTURES.glob("*.gz")), ids=lambda file: file.name.removesuffix(".jsonl.gz"))
def test_every_span_of_a_capture_is_accounted_for(file: Path) -> None:
    """Received = joined + not an agent's + told twice, and one request for each run that a person reads in them."""
    runs = Counter(row["version"] != "no run" for row in rows().get(file.name, []))
    with a_monitor() as monitor:
        monitor.feed(*gzip.decompress(file.read_bytes()).splitlines())
        monitor.read_all()
        monitor.close_traces()

        spans = dict(monitor.count(CounterName.SPANS))
        assert spans.pop("received", 0) == sum(spans.values())
        assert {} == {state: n for state, n in spans.items() if state not in {"joined", "non_agent", "duplicate"}}
        assert runs[True] == sum(monitor.count(CounterName.REQUESTS).values())


@pytest.mark.slow
def test_calls_that_fail_behind_an_alias_stay_with_the_version_that_serves_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An outage in which failed calls name the alias alone is no second version, and no rollout."""
    ledger = f"sqlite:///{tmp_path}/ledger.db"

    assert 0 == run_command(["replay", str(OUTAGE), "--ledger", ledger, "--output", "json"])

    assert [] == json.loads(capsys.readouterr().out)["rollouts"]
    with sa.create_engine(ledger).connect() as connection:
        found = connection.execute(
            sa.select(
                model_version.c.model_version,
                sa.func.count(),
                sa.func.sum(request.c.success.is_(False).cast(sa.Integer)),
            )
            .select_from(request.join(model_version))
            .group_by(model_version.c.model_version)
        )
        assert [(VERSION, REQUESTS, FAILURES)] == [tuple(row) for row in found]
