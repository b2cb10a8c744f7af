"""
One of several replicas on one topic and one PostgreSQL: reads until the ledger holds every record, then says its cost.

Run by bench_pipeline: python -m bench.replica BOOTSTRAP TOPIC LEDGER_URL RECORDS CORE
"""

from __future__ import annotations

import json
import os
import sys
import time

from bench.service_loop import kafka_source, running_service
from bench.stopwatch import Stopwatch
from monitor.ledger.ledger import CounterName
from monitor.ledger.sql import SqlLedger


def main() -> None:
    bootstrap_servers, topic, ledger_url, records, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    read, began, ended, cpu = 0, 0.0, 0.0, 0.0
    source = kafka_source(bootstrap_servers, topic, group_id=f"{topic}-replicas")
    with running_service(ledger_url, source, Stopwatch()) as (service, _, ledger):
        while True:
            before, at = time.process_time(), time.time()
            polled = len(service.run_once().records)
            if polled:
                began, ended = began or at, time.time()
                read, cpu = read + polled, cpu + time.process_time() - before
            elif _recorded(ledger) >= int(records):
                break
    print(json.dumps({"read": read, "began": began, "ended": ended, "cpu_seconds": cpu}))


def _recorded(ledger: SqlLedger) -> int:
    return sum(count for key, count in ledger.counters().items() if key.name is CounterName.RECORDS)


if __name__ == "__main__":
    main()
