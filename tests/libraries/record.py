"""
Captures made anew from the libraries themselves.

`python -m tests.libraries.record [NAME...]` runs `agents/NAME.py`, each in an environment of its own that `uv` makes
from the packages that the script names, and writes the spans to `captures/NAME.jsonl.gz` beside those of the tests.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.libraries.fake_models import FakeModels, fake_models

AGENTS = Path(__file__).parent / "agents"
CAPTURES = Path(__file__).parent.parent / "trace" / "captures"


class CannotInstall(Exception):
    """The index is out of reach, or a package is not there."""


def record(name: str, *, seconds: float = 600) -> list[str]:
    """Spans that `agents/NAME.py` wrote, an OTLP export to a line."""
    program = AGENTS / f"{name}.py"
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "--quiet", "sync", "--script", program]
    done = subprocess.run(install, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise CannotInstall(done.stderr.strip()[-2000:])
    with fake_models() as models:
        _run([uv, "--quiet", "run", "--script", program], models, seconds)
        return models.lines


def _run(command: list[object], models: FakeModels, seconds: float) -> None:
    environment = {**os.environ, **models.environment()}
    done = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode or not models.lines:
        what = f"{command[-1]} wrote {len(models.lines)} exports and ended with {done.returncode}"
        raise RuntimeError(f"{what}:\n{done.stderr[-4000:]}")


def write(name: str) -> Path:
    """The capture that `agents/NAME.py` makes, as a file of the tests."""
    file = CAPTURES / f"{name}.jsonl.gz"
    documents = [json.loads(line, object_hook=_without_paths) for line in record(name)]
    text = "".join(f"{json.dumps(document, separators=(',', ':'))}\n" for document in documents)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
    return file


def _without_paths(part: dict[str, Any]) -> dict[str, Any]:
    """*part* without paths of this machine."""
    for name in ("stringValue", "message"):
        if isinstance(part.get(name), str):
            part[name] = _PATH.sub("/app", part[name])
    if isinstance(part.get("attributes"), list):
        part["attributes"] = [pair for pair in part["attributes"] if not pair["key"].startswith(_OF_THIS_MACHINE)]
    return part


_PATH = re.compile(r"(?:/[\w.+-]+){4,}")
_OF_THIS_MACHINE = ("exception.stacktrace", "error.stack_trace", "code.", "process.", "host.")


def main() -> int:
    failed = 0
    for name in sys.argv[1:] or sorted(program.stem for program in AGENTS.glob("*-*.py")):
        try:
            print(write(name))  # noqa: T201
        except (CannotInstall, RuntimeError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
