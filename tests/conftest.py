from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from fcntl import LOCK_EX, flock
from functools import partial
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Machines are shared and noisy, so how long an example takes says nothing about the code; in CI the same examples are
# tried each time, and elsewhere new ones.
settings.register_profile(
    "cliffwatch",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("cliffwatch")


@pytest.hookimpl(trylast=True)  # after the dice of pytest-randomly
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts servers goes first: it takes longest, and no worker should be left with it when others are done."""
    items.sort(key=lambda item: (not _runs_the_demo_for_all(item), item.get_closest_marker("stack") is None))


def _runs_the_demo_for_all(item: pytest.Item) -> bool:
    """Whether it starts a demo whose printed result others read, who else would run one of their own."""
    return "demo_printed" in getattr(item, "fixturenames", ()) and item.get_closest_marker("stack") is not None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives to the end: no garbage is looked for while it grows, and none among it afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def for_all_workers(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Callable[[str], AbstractContextManager[Path]]:
    """Opens a place, by its name, that all workers share: whoever finds it missing makes it, while others wait."""
    ours = tmp_path_factory.getbasetemp()
    folder = ours if worker_id == "master" else ours.parent

    @contextmanager
    def opened(name: str) -> Iterator[Path]:
        with (folder / f"{name}.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            yield folder / name

    return opened


@pytest.fixture(scope="session")
def demo_printed(
    for_all_workers: Callable[[str], AbstractContextManager[Path]],
) -> Callable[[], AbstractContextManager[Path]]:
    """
    Opens the file of what one `cliffwatch demo --output json` printed.

    The tests of the dashboards run it and serve it meanwhile; a test that comes before them runs one of its own.
    """
    return partial(for_all_workers, "demo.json")


@pytest.fixture(scope="session")
def demo(demo_printed: Callable[[], AbstractContextManager[Path]]) -> dict[str, dict[str, object]]:
    """The demo's rollouts by service, as `cliffwatch demo --output json` prints them; run by one worker for all."""
    with demo_printed() as printed:
        if not printed.exists():
            program = Path(sys.executable).with_name("cliffwatch")
            done = subprocess.run([program, "demo", "--output", "json"], capture_output=True, timeout=500, check=False)
            assert done.returncode == 0, done.stderr
            printed.write_bytes(done.stdout)
        result = json.loads(printed.read_bytes())
    read = {"read": 25_650, "counted": 25_650, "duplicate": 0, "dead_lettered": 0, "unlabelled": 0}
    assert read == result["records"]
    return {rollout["service"]: rollout for rollout in result["rollouts"]}


@pytest.fixture(autouse=True)
def _logging_as_at_the_start() -> Iterator[None]:
    """A command configures logging for its whole process; here the process goes on, after a fixture's command too."""
    _forget_logging()
    yield
    _forget_logging()


def _forget_logging() -> None:
    structlog.reset_defaults()
    root = logging.getLogger()
    root.handlers = [
        handler for handler in root.handlers if not isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    ]
    root.setLevel(logging.WARNING)
    logging.getLogger("kafka").setLevel(logging.NOTSET)
