"""
How long `cliffwatch run` takes from its start to its first scrape, and `cliffwatch --help` to its end.

Against a real Kafka and SQLite, with the default settings and compiled modules, as pip installs them: on a fresh
ledger, whose tables are made first, and again on the same. Prints the best and the median of several starts and writes
bench/out/startup.json; takes a minute on two idle cores. Needs `make servers`.
Run: python -m bench.bench_startup [--starts N]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.stack.monitor_process import CLIFFWATCH, MonitorProcess
from tests.stack.servers import KafkaServer

OUT = Path(__file__).resolve().parent / "out" / "startup.json"
TARGET_SECONDS = 2.0
_EVERY_SECONDS = 0.01
_AT_MOST_SECONDS = 120.0

_Took = tuple[float, float]
"""Wall seconds and CPU seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="starts that are timed")
    starts = parser.parse_args().starts
    with TemporaryDirectory() as bytecode, KafkaServer() as kafka:
        # A checkout has no compiled modules, and a container may forbid to write them.
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        _seconds_to_first_scrapes(kafka)
        scraped = [_seconds_to_first_scrapes(kafka) for _ in range(starts)]
        helped = [_seconds_of_help() for _ in range(starts)]
    fresh, again = zip(*scraped, strict=True)
    for ledger, took in (("a fresh ledger", fresh), ("the same ledger again", again)):
        seconds, cpu_seconds = zip(*took, strict=True)
        median = statistics.median(seconds)
        verdict = "reached" if median < TARGET_SECONDS else "missed"
        print(
            f"run to first scrape on {ledger}: best {min(seconds):.2f} s, median {median:.2f} s "
            f"(CPU time {min(cpu_seconds):.2f} s, {statistics.median(cpu_seconds):.2f} s); "
            f"target below {TARGET_SECONDS} s: {verdict}"
        )
    print(f"--help: best {min(wall for wall, _ in helped):.2f} s (CPU time {min(cpu for _, cpu in helped):.2f} s)")
    OUT.parent.mkdir(exist_ok=True)
    figures = {
        "load": os.getloadavg(),
        "first_scrape_seconds": fresh,
        "first_scrape_seconds_again": again,
        "help_seconds": helped,
    }
    OUT.write_text(json.dumps(figures, indent=2) + "\n")


def _seconds_to_first_scrapes(kafka: KafkaServer) -> tuple[_Took, _Took]:
    """Times of a start that creates its ledger, and of a start with an existing ledger."""
    process = MonitorProcess({"bootstrap_servers": kafka.bootstrap_servers, "topics": [kafka.new_topic()]})
    process.prepare()
    try:
        fresh = _seconds_to_first_scrape(process)
        process.stop()
        return fresh, _seconds_to_first_scrape(process)
    finally:
        process.__exit__()


def _seconds_to_first_scrape(process: MonitorProcess) -> _Took:
    start = time.perf_counter()
    process.start(wait=False)
    while not _answers(f"{process.url}/metrics"):
        if time.perf_counter() - start > _AT_MOST_SECONDS:
            raise SystemExit(f"No scrape was answered within {_AT_MOST_SECONDS} s:\n{process.log()[-2_000:]}")
        time.sleep(_EVERY_SECONDS)
    return time.perf_counter() - start, _cpu_seconds(process)


def _cpu_seconds(process: MonitorProcess) -> float:
    """CPU time so far, which other work on the machine affects less than wall time."""
    assert process.process is not None
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1.0) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _seconds_of_help() -> _Took:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([CLIFFWATCH, "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
