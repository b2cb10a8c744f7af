"""Runs real eval tools on the invented suite, offline; as a script it writes what they say into tests/evals/files."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).with_name("files")
_TOOLS = Path(__file__).with_name("tools")
_SERVERS = ROOT / ".servers"
_PYTHON = _SERVERS / "eval-tools" / "bin" / "python"
_DEEPEVAL = _SERVERS / "deepeval" / "bin" / "python"
_PROMPTFOO = _SERVERS / "promptfoo" / "node_modules" / ".bin" / "promptfoo"
_SECONDS = 240
_OFFLINE = {
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "PROMPTFOO_DISABLE_UPDATE": "1",
    "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
    "PROMPTFOO_DISABLE_SHARING": "1",
    "NO_COLOR": "1",
}


def has_inspect() -> bool:
    return (_SERVERS / "eval-tools" / "bin" / "inspect").exists()


def has_lm_eval() -> bool:
    return (_SERVERS / "eval-tools" / "bin" / "lm_eval").exists()


def has_promptfoo() -> bool:
    return _PROMPTFOO.exists() and shutil.which("node") is not None


def has_deepeval() -> bool:
    return (_SERVERS / "deepeval" / "bin" / "deepeval").exists()


def inspect_logs(folder: Path) -> tuple[Path, Path]:
    """A `.eval` log of adder-1 in two epochs, and a JSON log of adder-2, which leaves a question unanswered."""
    logs = []
    for version, log_format, epochs in (("adder-1", "eval", "2"), ("adder-2", "json", "1")):
        _run([_PYTHON, _TOOLS / "inspect_suite.py", folder / version, version, log_format, epochs], folder)
        logs.append(next((folder / version).iterdir()))
    return logs[0], logs[1]


def lm_eval_samples(folder: Path) -> tuple[Path, Path]:
    """The folders that adder-1 and adder-2 were logged into: samples of two tasks, and totals."""
    for version in ("adder-1", "adder-2"):
        _run([_PYTHON, _TOOLS / "lm_eval_suite.py", folder / "out", version], folder)
    return folder / "out" / "adder-1", folder / "out" / "adder-2"


def promptfoo_results(folder: Path) -> tuple[Path, Path]:
    """Results of both versions as JSON and as JSON lines."""
    _run(["node", _TOOLS / "promptfoo_suite.cjs"], folder)
    evaluate = [_PROMPTFOO, "eval", "--config", "promptfooconfig.json", "--no-cache", "--no-progress-bar", "--no-table"]
    # Its exit code says that tests failed, which they are meant to.
    _run([*evaluate, "--output", "results.json", "--output", "results.jsonl"], folder, may_fail=True)
    return folder / "results.json", folder / "results.jsonl"


def deepeval_results(folder: Path) -> tuple[Path, Path]:
    """The results files of adder-1 and adder-2, named by the version."""
    files = []
    for version in ("adder-1", "adder-2"):
        _run([_DEEPEVAL, _TOOLS / "deepeval_suite.py", folder / version, version], folder)
        made = next((folder / version).glob("test_run_*.json"))
        files.append(made.rename(folder / f"{version}.json"))
    return files[0], files[1]


def _run(command: Sequence[str | Path], folder: Path, *, may_fail: bool = False) -> None:
    environment = {**os.environ, **_OFFLINE, "PROMPTFOO_CONFIG_DIR": str(folder / ".promptfoo")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode and not may_fail:
        raise RuntimeError(f"{command[1]} failed: {done.stderr[-2000:]}")


def _write_files(names: Sequence[str]) -> None:
    runs = {"inspect": inspect_logs, "lm_eval": lm_eval_samples, "promptfoo": promptfoo_results}
    runs["deepeval"] = deepeval_results
    for name in names or runs:
        run = runs[name]
        shutil.rmtree(FILES / name, ignore_errors=True)
        with tempfile.TemporaryDirectory() as temporary:
            _keep(run, Path(temporary), FILES / name)
        sys.stdout.write(f"{name}\n")


def _keep(run: Callable[[Path], tuple[Path, Path]], folder: Path, target: Path) -> None:
    for made in run(folder):
        files = sorted(made.iterdir()) if made.is_dir() else [made]
        for file in files:
            kept = target / file.relative_to(folder).parent.name / file.name if made.is_dir() else target / file.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".json":  # compressed it is a tenth of the size
                text = json.dumps(_without_tracebacks(json.loads(file.read_text(encoding="utf-8"))))
                kept.with_name(f"{kept.name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
            else:
                shutil.copyfile(file, kept)


def _without_tracebacks(value: Any) -> Any:
    """*value* without the folders of the machine that it was written on, which nobody else has."""
    if isinstance(value, dict):
        return {name: "" if name.startswith("traceback") else _without_tracebacks(each) for name, each in value.items()}
    return [_without_tracebacks(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    _write_files(sys.argv[1:])
