"""What answers a probe or grades an answer: a program, or a chat model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from subprocess import Popen, TimeoutExpired
from tempfile import TemporaryFile
from threading import Event
from typing import IO, Any

import httpx
from pydantic_core import from_json

from monitor.clock import WallClock
from monitor.errors import UsageError, os_errors
from monitor.output.plain import Json
from monitor.probes.run import Answer, Unanswered

_MOST_BYTES = 4 * 1024**2
_COMPLAINT_BYTES = 1024
_LOOK_SECONDS = 0.05
_TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h
_TRIES = 6
_LONGEST_WAIT_SECONDS = 300.0
_REFUSED = (401, 403, 404)
_BUSY = frozenset({408, 409, 425, 429, *range(500, 600)})


def ask_program(command: Sequence[str], document: Json, *, timeout_seconds: float, stop: Event) -> Answer:
    """
    What *command* answers to *document*; the program and its children are gone when this returns.

    The document is one line on its standard input. The answer is the JSON object that the program prints, or that its
    last line is. Without one the answer is broken: `timeout`, `output_too_large`, `exit_code` or `no_json`.

    Raises:
        Unanswered: the program asks to be called again later, by exit code 75 (EX_TEMPFAIL), or *stop* was set.
        UsageError: the program cannot be started.
    """
    # Files and no pipes: a child that the program leaves behind cannot hold them open.
    with TemporaryFile() as question, TemporaryFile() as output, TemporaryFile() as complaint:
        question.write(json.dumps(document).encode() + b"\n")
        question.seek(0)
        with os_errors(UsageError, f"{command[0]} cannot be started", "check the command."):
            process = Popen(command, stdin=question, stdout=output, stderr=complaint, start_new_session=True)  # noqa: S603
        try:
            code = _exit_code(process, (output, complaint), timeout_seconds, stop)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if any(os.fstat(each.fileno()).st_size > _MOST_BYTES for each in (output, complaint)):
            return Answer(broken="output_too_large", detail=f"more than {_MOST_BYTES:,} bytes of output")
        return _printed(code, _read(output, 0, _MOST_BYTES), _last_line(complaint))


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


def _printed(code: int | None, output: bytes, complaint: str) -> Answer:
    if code is None:
        return Answer(broken="timeout", detail="no answer in time")
    if code == _TRY_LATER:
        raise Unanswered(f"The program asks to be called again later: {complaint}")
    if code or (found := _object(output)) is None:
        detail = f"exit code {code}, {complaint or 'no message'}"
        return Answer(broken="exit_code" if code else "no_json", detail=detail)
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


def ask_chat(question: Json, *, client: httpx.Client, prices: tuple[float, float] | None, stop: Event) -> Answer:
    """
    What a chat model answers to *question*: `output`, `calls`, `tool_calls`, `usage`.

    A busy endpoint is asked again, when its Retry-After says so or after a growing pause.

    Args:
        question: Its `request` has a `text`.
        client: With the base URL and the key.
        prices: US dollars for a million tokens, input and output; None where nobody said.
        stop: Set when nothing more is to be asked.

    Raises:
        Unanswered: the endpoint stays busy, or cannot be reached.
        UsageError: it refuses the key, or does not know the model.
    """
    request, host = question["request"], client.base_url.host  # never the whole address: it may hold a password
    body = {"model": question["model"], "messages": [{"role": "user", "content": request["text"]}]}
    if "tools" in request:
        body["tools"] = [{"type": "function", "function": tool} for tool in request["tools"]]
    for attempt in range(_TRIES):
        try:
            response = client.post("chat/completions", json=body)
            said, wait = f"HTTP {response.status_code}", retry_after(response.headers.get("retry-after", ""))
        except (httpx.ReadTimeout, httpx.WriteTimeout):  # no way in is not the model's fault
            return Answer(broken="timeout", detail="no answer in time")
        except httpx.RequestError as error:
            response, said, wait = httpx.Response(503), type(error).__name__, None
        if response.status_code in _REFUSED:
            raise UsageError(f"{host} refuses ({said}); check --model, --openai-base-url and OPENAI_API_KEY.")
        if response.status_code not in _BUSY:
            return _answer(response, prices)
        pause = random.uniform(0.5, 1.0) * 2.0**attempt if wait is None else wait  # noqa: S311
        if attempt == _TRIES - 1 or pause > _LONGEST_WAIT_SECONDS or stop.wait(pause):
            break
    raise Unanswered(f"{host} cannot answer now ({said}); run the same command again later.")


def _answer(response: httpx.Response, prices: tuple[float, float] | None) -> Answer:
    if response.status_code != httpx.codes.OK:
        return Answer(broken=f"http_{response.status_code}", detail="the endpoint does not take the request")
    try:
        return Answer(_result(from_json(response.content, allow_inf_nan=False), prices))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Answer(broken="no_json", detail="not a chat completion")


def _result(completion: Any, prices: tuple[float, float] | None) -> Json:
    message, told = completion["choices"][0]["message"], completion.get("usage") or {}
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    result: Json = {"output": message.get("content"), "calls": calls, "tool_calls": len(calls)}
    if "prompt_tokens" in told:
        read, wrote = int(told["prompt_tokens"]), int(told.get("completion_tokens", 0))
        result["usage"] = {"input_tokens": read, "output_tokens": wrote}
        if prices is not None:
            result["usage"]["cost_usd"] = (read * prices[0] + wrote * prices[1]) / 1e6
    return result


def retry_after(header: str) -> float | None:
    """
    Seconds from now that a Retry-After header asks for; None where it says nothing that can be read.

    Source:
        RFC 9110, section 10.2.3.

    >>> retry_after("2"), retry_after("Thu, 01 Jan 1970 00:00:09 GMT"), retry_after("soon")
    (2.0, 0.0, None)
    """
    if header.strip().isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - WallClock().time(), 0.0)
