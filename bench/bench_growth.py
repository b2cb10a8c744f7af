"""
How cost grows with the ledger, the services and the series, and whether memory does.

The service reads ten million made-up events into one SQLite ledger. At 10^4, 10^5, 10^6 and 10^7 rows its speed is
taken over the last tenth (at most 50,000 records), with the cost of each stage and of a scrape, and the memory of the
process. Then 100,000 events of 1, 10 and 100 services, and a scrape of 20,000 series.

Prints tables and writes bench/out/growth.json. Ten million rows take about 15 minutes on two idle cores and 7 GB of
disk; --quick stops at 10^5 rows, and is done in half a minute.
With --looks only what a look costs is taken: from 10^5 rows on, every tenfold copies the rows and adds up the cells in
SQL, as ten times the users in the same hours would have left them; minutes where reading them takes half an hour.
Run: python -m bench.bench_growth [--rows N] [--ledger URL] [--quick] [--looks]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from bench.growth import growth_exponent, times_n_log_n
from bench.native_events import lean_events
from bench.service_loop import BATCH_RECORDS, running_service
from bench.stopwatch import Stopwatch
from bench.synthetic_source import SyntheticSource
from monitor.ledger.cells import SUMS
from monitor.ledger.schema import counter, model_version, request, stratum, traffic
from monitor.metrics.collect import families_of
from monitor.metrics.exposition import encode_text
from monitor.metrics.snapshot import SnapshotHolder
from monitor.service.replay import Replay

OUT = Path(__file__).resolve().parent / "out" / "growth.json"
ROWS = 10**7
SERVICES = (1, 10, 100)
SERVICE_ROWS = 100_000
CANDIDATE_FROM = 2_000
"""Event from which on half of the requests of every service are a new version's, so that a rollout is open in each."""
COPIED_FROM = 10**5
MOST_MEASURED = 50_000
MEMORY_GROWTH = 0.05
WIDE_SERVICES = 340
"""Services that together have about 20,000 series."""
SCRAPE_SECONDS = 0.2
_PER_BATCH = ("decode", "features and tag", "ledger")
_PER_LOOK = ("snapshot", "review")


@dataclass(frozen=True, slots=True)
class Mark:
    """
    Costs when the ledger has *rows* rows.

    Attributes:
        records_per_second: Records per CPU second, without the making of the events.
        microseconds: By stage: CPU time per record, for snapshot and review of one look.
        scrape_seconds: CPU time of one scrape of what the snapshot shows.
        series: Samples of that scrape.
        memory_mib: Resident memory.
    """

    rows: int
    services: int
    records_per_second: float
    microseconds: Mapping[str, float]
    scrape_seconds: float
    series: int
    memory_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows to grow to, a power of ten")
    parser.add_argument("--ledger", help="URL of an empty ledger, in place of a SQLite file")
    parser.add_argument("--quick", action="store_true", help="10^5 rows, a tenth of the rows per number of services")
    parser.add_argument("--looks", action="store_true", help="only what a look costs, of rows that SQL copies")
    arguments = parser.parse_args()
    rows = 10**5 if arguments.quick else arguments.rows
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    with tempfile.TemporaryDirectory() as folder:
        if arguments.looks:
            for line in looks(arguments.ledger or f"sqlite:///{folder}/rows.db", powers_of_ten(rows), services=10):
                print(line, flush=True)
            return
        by_rows = grow(arguments.ledger or f"sqlite:///{folder}/rows.db", powers_of_ten(rows), services=10)
        by_services = [
            grow(
                f"sqlite:///{folder}/{services}.db",
                [SERVICE_ROWS // 10 if arguments.quick else SERVICE_ROWS],
                services=services,
            )[0]
            for services in SERVICES
        ]
        widest = grow(f"sqlite:///{folder}/wide.db", [SERVICE_ROWS // 5], services=WIDE_SERVICES)[0]
    print("\n".join(table(by_rows)), end="\n\n")
    print("\n".join(growth_table(by_rows)), end="\n\n")
    print("\n".join(table([*by_services, widest])), end="\n\n")
    print(scrape_line(widest))
    print(memory_line(by_rows))
    OUT.parent.mkdir(exist_ok=True)
    figures = {
        "load": os.getloadavg(),
        "rows": [*map(asdict, by_rows)],
        "services": [*map(asdict, [*by_services, widest])],
    }
    OUT.write_text(json.dumps(figures, indent=2) + "\n")


def powers_of_ten(most: int) -> Sequence[int]:
    """10,000 and its multiples by powers of ten, up to *most*.

    >>> powers_of_ten(1_000_000)
    [10000, 100000, 1000000]
    """
    marks = [10_000]
    while marks[-1] * 10 <= most:
        marks.append(marks[-1] * 10)
    return marks


def grow(ledger_url: str, marks: Sequence[int], *, services: int) -> Sequence[Mark]:
    """Costs at each of *marks* rows while the service fills the ledger."""
    watch, found = Stopwatch(), []
    values = lean_events(marks[-1], services=services, candidate_from=CANDIDATE_FROM)
    with running_service(ledger_url, lambda offsets: SyntheticSource(values, offsets, BATCH_RECORDS), watch) as (
        service,
        snapshots,
        _,
    ):
        read = 0
        for mark in marks:
            measured = max(2 * BATCH_RECORDS, min(mark // 10, MOST_MEASURED))
            while read < mark - measured:
                read += len(service.run_once().records)
                _show_progress(read, marks[-1])
            watch.lap()
            cpu, begun = time.process_time(), read
            while read < mark:
                read += len(service.run_once().records)
            cpu = time.process_time() - cpu
            lap = watch.lap()
            Replay(service).finish(seconds=0.0)  # one look of each kind at this size
            looks = watch.lap()
            per_record = {stage: 1e6 * lap.get(stage, 0.0) / (read - begun) for stage in _PER_BATCH}
            per_look = {stage: 1e6 * looks.get(stage, 0.0) for stage in _PER_LOOK}
            seconds, series = scrape(snapshots)
            found.append(
                Mark(
                    rows=read,
                    services=services,
                    records_per_second=(read - begun) / (cpu - lap.get("poll", 0.0)),
                    microseconds=per_record | per_look,
                    scrape_seconds=seconds,
                    series=series,
                    memory_mib=resident_mib(),
                )
            )
    return found


def looks(ledger_url: str, marks: Sequence[int], *, services: int) -> Iterator[str]:
    """One line per mark: what a review of a rollout in each of *services*, and a snapshot, cost; best of three."""
    watch, read_rows = Stopwatch(), min(marks[-1], COPIED_FROM)
    values = lean_events(read_rows, services=services, candidate_from=CANDIDATE_FROM)
    with running_service(ledger_url, lambda offsets: SyntheticSource(values, offsets, BATCH_RECORDS), watch) as (
        service,
        _,
        ledger,
    ):
        yield f"{'rows':>11}{'review, ms':>12}{'wall, ms':>10}{'snapshot, ms':>14}{'MiB':>6}"
        rows = 0
        for mark in marks:
            while rows < min(mark, read_rows):
                rows += len(service.run_once().records)
            if rows < mark:
                copy_rows(ledger_url, rows, mark // rows)
                rows = mark
            best: list[float] = [math.inf] * 3
            for _ in range(3):
                watch.lap()
                begun = time.monotonic()
                service.review()
                wall = time.monotonic() - begun
                service.publish()
                lap = watch.lap()
                best = [*map(min, best, (lap["review"], wall, lap["snapshot"]))]
            assert services == sum(record.rollout.is_under_way for record in ledger.rollouts())
            review, wall, snapshot = (1e3 * each for each in best)
            yield f"{rows:>11,}{review:>12.1f}{wall:>10.1f}{snapshot:>14.1f}{resident_mib():>6.0f}"


def copy_rows(ledger_url: str, rows: int, times: int) -> None:
    """Multiply the *rows* requests, and all counts, by *times*."""
    columns = [column.name for column in request.columns if column.name not in {"trace_id", "cluster"}]
    copies = " UNION ALL ".join(
        f"SELECT {number} AS number, '-{rows}-{number}' AS suffix" for number in range(1, times)
    )
    # Users of their own, as evenly spread as hashes are: each copy moves them on by so much, and round.
    last, step = 2**63 - 1, 2**63 // times + 2**63 // rows
    cluster = f"cluster - CASE WHEN cluster >= {last} - number * {step} THEN {last} ELSE 0 END + number * {step}"
    added = {stratum: SUMS, traffic: ("requests",), model_version: ("requests", "labelled"), counter: ("value",)}
    with sa.create_engine(ledger_url).begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO request (trace_id, cluster, {', '.join(columns)}) "
            f"SELECT trace_id || suffix, {cluster}, {', '.join(columns)} "
            f"FROM request CROSS JOIN ({copies}) AS copies ORDER BY trace_id"
        )
        for table, names in added.items():
            connection.execute(sa.update(table).values({name: table.c[name] * times for name in names}))
    if ledger_url.startswith("postgresql"):
        with sa.create_engine(ledger_url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # as autovacuum does of rows that come by and by


def scrape(snapshots: SnapshotHolder) -> tuple[float, int]:
    """CPU seconds of the best of three scrapes, and the number of series."""
    best, text = float("inf"), b""
    for _ in range(3):
        start = time.process_time()
        text = encode_text(families_of(snapshots.current))
        best = min(best, time.process_time() - start)
    return best, sum(not line.startswith(b"#") for line in text.splitlines())


def resident_mib() -> float:
    """Memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def table(marks: Sequence[Mark]) -> Sequence[str]:
    """One line per mark."""
    lines = [
        f"{'rows':>11}{'services':>9}{'records/CPU s':>15}"
        + "".join(f"{stage + ' us':>20}" for stage in _PER_BATCH)
        + "".join(f"{stage + ' ms':>13}" for stage in _PER_LOOK)
        + f"{'scrape ms':>11}{'series':>8}{'MiB':>6}"
    ]
    lines += [
        f"{mark.rows:>11,}{mark.services:>9}{mark.records_per_second:>15,.0f}"
        + "".join(f"{mark.microseconds[stage]:>20.1f}" for stage in _PER_BATCH)
        + "".join(f"{mark.microseconds[stage] / 1e3:>13.1f}" for stage in _PER_LOOK)
        + f"{1e3 * mark.scrape_seconds:>11.1f}{mark.series:>8}{mark.memory_mib:>6.0f}"
        for mark in marks
    ]
    return lines


def growth_table(marks: Sequence[Mark]) -> Sequence[str]:
    """Growth of the total cost of *n* records with n, by stage, compared with n log n."""
    lines = [f"{'stage':<20}{'exponent':>10}{'times n log n':>15}"]
    sizes = [float(mark.rows) for mark in marks]
    for stage in (*_PER_BATCH, *_PER_LOOK):
        # What is done for each record is done n times; a look is done once, at size n.
        times = sizes if stage in _PER_BATCH else [1.0] * len(sizes)
        costs = [n * max(mark.microseconds[stage], 1e-3) for n, mark in zip(times, marks, strict=True)]
        ratio = times_n_log_n(sizes, costs)
        verdict = "" if ratio <= 1 else "  worse than n log n"
        lines.append(f"{stage:<20}{growth_exponent(sizes, costs):>10.2f}{ratio:>15.2f}{verdict}")
    return lines


def scrape_line(mark: Mark) -> str:
    """Whether a scrape of 20,000 series is quick enough."""
    verdict = "reached" if mark.scrape_seconds < SCRAPE_SECONDS else "missed"
    return (
        f"scrape: {1e3 * mark.scrape_seconds:.0f} ms of CPU time for {mark.series:,} series; "
        f"target below {1e3 * SCRAPE_SECONDS:.0f} ms: {verdict}"
    )


def memory_line(marks: Sequence[Mark]) -> str:
    """Whether memory stayed flat after the first tenth."""
    *_, before, last = marks
    growth = last.memory_mib / before.memory_mib - 1.0
    verdict = "reached" if growth < MEMORY_GROWTH else "missed"
    return (
        f"memory: {before.memory_mib:.0f} MiB after {before.rows:,} events, {last.memory_mib:.0f} MiB after "
        f"{last.rows:,}: {growth:+.1%}; target below {MEMORY_GROWTH:.0%}: {verdict}"
    )


def _show_progress(read: int, all_of_them: int) -> None:
    if read % (50 * BATCH_RECORDS) < BATCH_RECORDS:
        print(f"{read:,} of {all_of_them:,}", file=sys.stderr)


if __name__ == "__main__":
    main()
