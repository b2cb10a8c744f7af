"""Calls an agent or grader: a program, or a chat model behind an OpenAI-compatible endpoint."""

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
_STDERR_BYTES = 1024
_POLL_SECONDS = 0.05
_TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h
_TRIES = 6
_LONGEST_WAIT_SECONDS = 300.0
_REFUSED = (401, 403, 404)
_BUSY = frozenset({408, 409, 425, 429, *range(500, 600)})


def ask_program(command: Sequence[str], document: Json, *, timeout_seconds: float, stop: Event) -> Answer:
    """
    Run *command* with *document* as one line on its standard input; kills the program and its children on return.

    The answer is the JSON object that the program prints, whole or on its last line. Without one, the answer is broken:
    `timeout`, `output_too_large`, `exit_code` or `no_json`.

    Raises:
        Unanswered: the program asks to be called again later, by exit code 75 (EX_TEMPFAIL), or *stop* was set.
        UsageError: the program cannot be started.
    """
    # Files instead of pipes: a child process that the program leaves behind would keep a pipe open.
    with TemporaryFile() as question, TemporaryFile() as output, TemporaryFile() as stderr:
        question.write(json.dumps(document).encode() + b"\n")
        question.seek(0)
        with os_errors(UsageError, f"{command[0]} cannot be started", "check the command."):
            process = Popen(command, stdin=question, stdout=output, stderr=stderr, start_new_session=True)  # noqa: S603
        try:
            code = _exit_code(process, (output, stderr), timeout_seconds, stop)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if any(os.fstat(file.fileno()).st_size > _MOST_BYTES for file in (output, stderr)):
            return Answer(broken="output_too_large", detail=f"more than {_MOST_BYTES:,} bytes of output")
        return _answer_of_program(code, _read(output, 0, _MOST_BYTES), _last_line(stderr))


def _exit_code(process: Popen[bytes], written: Sequence[IO[bytes]], timeout_seconds: float, stop: Event) -> int | None:
    """Exit code of *process*; None if it took too long or wrote too much."""
    clock = WallClock()
    deadline = clock.monotonic() + timeout_seconds
    while clock.monotonic() < deadline and all(os.fstat(file.fileno()).st_size <= _MOST_BYTES for file in written):
        if stop.is_set():
            raise Unanswered("Stopped.")
        with suppress(TimeoutExpired):
            return process.wait(_POLL_SECONDS)
    return None


def _answer_of_program(code: int | None, output: bytes, message: str) -> Answer:
    if code is None:
        return Answer(broken="timeout", detail="no answer in time")
    if code == _TRY_LATER:
        raise Unanswered(f"The program asks to be called again later: {message}")
    if code or (result := _object(output)) is None:
        detail = f"exit code {code}, {message or 'no message'}"
        return Answer(broken="exit_code" if code else "no_json", detail=detail)
    return Answer(result)


def _object(output: bytes) -> Json | None:
    for text in (output, *output.strip().splitlines()[-1:]):
        with suppress(ValueError):
            value: Any = from_json(text, allow_inf_nan=False)
            if isinstance(value, dict):
                return value
    return None


def _last_line(stderr: IO[bytes]) -> str:
    """The last line on a program's standard error, without the values of variables that are named like secrets."""
    size = os.fstat(stderr.fileno()).st_size
    lines = _read(stderr, max(size - _STDERR_BYTES, 0), _STDERR_BYTES).decode("utf-8", "replace").splitlines()
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
    Ask a chat model; the result has `output`, `calls`, `tool_calls` and `usage`.

    Retries a busy endpoint after the time in its Retry-After header, or after growing pauses.

    Args:
        question: Its `request` must have a `text`.
        client: Client with the base URL and the key.
        prices: US dollars per million tokens, input and output; None if unknown.
        stop: Set to stop asking.

    Raises:
        Unanswered: the endpoint stays busy, or cannot be reached.
        UsageError: it refuses the key, or does not know the model.
    """
    request, host = question["request"], client.base_url.host  # the whole URL may hold a password
    body = {"model": question["model"], "messages": [{"role": "user", "content": request["text"]}]}
    if "tools" in request:
        body["tools"] = [{"type": "function", "function": tool} for tool in request["tools"]]
    for attempt in range(_TRIES):
        try:
            response = client.post("chat/completions", json=body)
            problem, wait = f"HTTP {response.status_code}", retry_after(response.headers.get("retry-after", ""))
        except (httpx.ReadTimeout, httpx.WriteTimeout):  # the model is too slow; other errors are not its fault
            return Answer(broken="timeout", detail="no answer in time")
        except httpx.RequestError as error:
            response, problem, wait = httpx.Response(503), type(error).__name__, None
        if response.status_code in _REFUSED:
            raise UsageError(f"{host} refuses ({problem}); check --model, --openai-base-url and OPENAI_API_KEY.")
        if response.status_code not in _BUSY:
            return _answer(response, prices)
        pause = random.uniform(0.5, 1.0) * 2.0**attempt if wait is None else wait  # noqa: S311
        if attempt == _TRIES - 1 or pause > _LONGEST_WAIT_SECONDS or stop.wait(pause):
            break
    raise Unanswered(f"{host} cannot answer now ({problem}); run the same command again later.")


def _answer(response: httpx.Response, prices: tuple[float, float] | None) -> Answer:
    if response.status_code != httpx.codes.OK:
        return Answer(broken=f"http_{response.status_code}", detail="the endpoint does not take the request")
    try:
        return Answer(_result(from_json(response.content, allow_inf_nan=False), prices))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Answer(broken="no_json", detail="not a chat completion")


def _result(completion: Any, prices: tuple[float, float] | None) -> Json:
    message, usage = completion["choices"][0]["message"], completion.get("usage") or {}
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    result: Json = {"output": message.get("content"), "calls": calls, "tool_calls": len(calls)}
    if "prompt_tokens" in usage:
        tokens = int(usage["prompt_tokens"]), int(usage.get("completion_tokens", 0))
        result["usage"] = {"input_tokens": tokens[0], "output_tokens": tokens[1]}
        if prices is not None:
            result["usage"]["cost_usd"] = sum(n * price for n, price in zip(tokens, prices, strict=True)) / 1e6
    return result


def retry_after(header: str) -> float | None:
    """
    Seconds to wait according to a Retry-After header; None if it cannot be parsed.

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
