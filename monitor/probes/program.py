"""A program as an agent or as a grader: one JSON object on its standard input, one on its standard output."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from subprocess import Popen, TimeoutExpired
from tempfile import TemporaryFile
from threading import Event
from typing import IO, Any

from pydantic_core import from_json

from monitor.clock import WallClock
from monitor.errors import UsageError
from monitor.output.plain import Json
from monitor.probes.answer import Answer, Unanswered

_MOST_BYTES = 4 * 1024**2
_COMPLAINT_BYTES = 1024
_LOOK_SECONDS = 0.05
_TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h


def ask_program(command: Sequence[str], document: Json, *, timeout_seconds: float, stop: Event) -> Answer:
    """
    What *command* answers to *document*; the program and its children are gone when this returns.

    The answer is the JSON object that the program prints, or that its last line is. Without one the answer is broken:
    `timeout`, `output_too_large`, `exit_code` or `no_json`.

    Raises:
        Unanswered: the program asks to be called again later, by exit code 75 (EX_TEMPFAIL), or *stop* was set.
        UsageError: the program cannot be started.
    """
    # Files and no pipes: a child that the program leaves behind cannot hold them open.
    with TemporaryFile() as question, TemporaryFile() as output, TemporaryFile() as complaint:
        question.write(json.dumps(document).encode() + b"\n")
        question.seek(0)
        try:
            process = Popen(command, stdin=question, stdout=output, stderr=complaint, start_new_session=True)  # noqa: S603
        except OSError as error:
            raise UsageError(f"{command[0]} cannot be started: {error.strerror}; check the command.") from error
        try:
            code = _exit_code(process, (output, complaint), timeout_seconds, stop)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if any(os.fstat(each.fileno()).st_size > _MOST_BYTES for each in (output, complaint)):
            return Answer(broken="output_too_large", detail=f"more than {_MOST_BYTES:,} bytes of output")
        return _answer(code, _read(output, 0, _MOST_BYTES), _last_line(complaint))


def _exit_code(process: Popen[bytes], written: Sequence[IO[bytes]], timeout_seconds: float, stop: Event) -> int | None:
    """Exit code of *process*; None where it was too slow or wrote too much."""
    clock = WallClock()
    deadline = clock.monotonic() + timeout_seconds
    while clock.monotonic() < deadline and all(os.fstat(each.fileno()).st_size <= _MOST_BYTES for each in written):
        if stop.is_set():
            raise Unanswered("Stopped.")
        with suppress(TimeoutExpired):
            return process.wait(_LOOK_SECONDS)
    return None


def _answer(code: int | None, output: bytes, complaint: str) -> Answer:
    if code is None:
        return Answer(broken="timeout", detail="no answer in time")
    if code == _TRY_LATER:
        raise Unanswered(f"The program asks to be called again later: {complaint}")
    if code or (found := _object(output)) is None:
        return Answer(
            broken="exit_code" if code else "no_json", detail=f"exit code {code}, {complaint or 'no message'}"
        )
    return Answer(found)


def _object(output: bytes) -> Json | None:
    for candidate in (output, *output.strip().splitlines()[-1:]):
        with suppress(ValueError):
            found: Any = from_json(candidate, allow_inf_nan=False)
            if isinstance(found, dict):
                return found
    return None


def _last_line(complaint: IO[bytes]) -> str:
    """What a program said last, without the values of variables that are named like secrets."""
    size = os.fstat(complaint.fileno()).st_size
    lines = _read(complaint, max(size - _COMPLAINT_BYTES, 0), _COMPLAINT_BYTES).decode("utf-8", "replace").splitlines()
    line = lines[-1] if lines else ""
    for name, value in os.environ.items():
        if value and any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD")):
            line = line.replace(value, "***")
    return line


def _read(file: IO[bytes], start: int, most_bytes: int) -> bytes:
    file.seek(start)
    return file.read(most_bytes)
