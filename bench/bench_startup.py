"""
How long `cliffwatch run` takes from its start to its first scrape, and `cliffwatch --help` to its end.

Against a real Kafka and a fresh SQLite ledger, with the default settings. Prints the best and the median of several
starts and writes bench/out/startup.json; takes half a minute on two idle cores. Needs `make servers`.
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

from tests.stack.monitor_process import CLIFFWATCH, MonitorProcess
from tests.stack.servers import KafkaServer

OUT = Path(__file__).resolve().parent / "out" / "startup.json"
TARGET_SECONDS = 2.0
_EVERY_SECONDS = 0.01
_AT_MOST_SECONDS = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="starts that are timed")
    starts = parser.parse_args().starts
    with KafkaServer() as kafka:
        scraped = [_seconds_to_first_scrape(kafka) for _ in range(starts)]
    helped = [_seconds_of_help() for _ in range(starts)]
    best, median = min(scraped), statistics.median(scraped)
    verdict = "reached" if best < TARGET_SECONDS else "missed"
    print(f"run to first scrape: best {best:.2f} s, median {median:.2f} s; target below {TARGET_SECONDS} s: {verdict}")
    print(f"--help: best {min(cpu for _, cpu in helped):.2f} s of CPU time, {min(wall for wall, _ in helped):.2f} s")
    OUT.parent.mkdir(exist_ok=True)
    told = {"load": os.getloadavg(), "first_scrape_seconds": scraped, "help_seconds": helped}
    OUT.write_text(json.dumps(told, indent=2) + "\n")


def _seconds_to_first_scrape(kafka: KafkaServer) -> float:
    topic = kafka.new_topic()
    process = MonitorProcess({"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic]})
    process.prepare()
    start = time.perf_counter()
    process.start(wait=False)
    try:
        while not _answers(f"{process.url}/metrics"):
            if time.perf_counter() - start > _AT_MOST_SECONDS:
                raise SystemExit(f"No scrape was answered within {_AT_MOST_SECONDS} s:\n{process.log()[-2_000:]}")
            time.sleep(_EVERY_SECONDS)
        return time.perf_counter() - start
    finally:
        process.__exit__()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1.0) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _seconds_of_help() -> tuple[float, float]:
    """Wall seconds and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([CLIFFWATCH, "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
