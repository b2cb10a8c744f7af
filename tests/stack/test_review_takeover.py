"""The one job that only one replica does: who holds it may die or hang, and another goes on within seconds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from monitor.ledger.ledger import Lease
from monitor.ledger.sql import SqlLedger
from tests.stack.servers import PostgresServer, wait_until

pytestmark = pytest.mark.stack

_HOLDER = """
import sys, time
from monitor.ledger.ledger import Lease
from monitor.ledger.sql import SqlLedger
with SqlLedger(sys.argv[1]).hold_lease(Lease.REVIEW) as is_ours:
    print(is_ours, flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize(
    "fate", [pytest.param(signal.SIGKILL, id="is killed"), pytest.param(signal.SIGSTOP, id="stands still")]
)
def test_another_replica_reviews_when_the_reviewer(postgres: PostgresServer, fate: signal.Signals) -> None:
    """The right to review is not kept by a process that does nothing with it."""
    url = postgres.new_database()
    ledger = SqlLedger(url)
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, url], stdout=subprocess.PIPE)
    assert holder.stdout is not None

    def is_ours() -> bool:
        with ledger.hold_lease(Lease.REVIEW) as mine:
            return mine

    try:
        held = holder.stdout.readline().strip()
        before = is_ours()
        holder.send_signal(fate)
        hit_at = time.monotonic()
        wait_until(is_ours, 60, "another replica may review", interval_seconds=0.2)
        print(f"another may review after {time.monotonic() - hit_at:.1f} s")  # noqa: T201
    finally:
        holder.kill()
        holder.communicate()
        ledger.close()

    assert (b"True", False) == (held, before)
