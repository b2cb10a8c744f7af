"""The journal of a probe run: answers and costs are on disk before the next step, so that a killed run can resume."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from pydantic_core import from_json

from monitor.errors import UsageError
from monitor.output.plain import Json

_NOT_OURS = "{} was not written by `probes run`; choose another --write."
_BEGINNINGS = (b'{"schema": ', b'{"question": ')


class _Lines:
    """An append-only file of JSON lines; a line that a crash cut off is removed."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)
        content = file.read()
        end = content.rfind(b"\n") + 1
        whole, cut = content[:end], content[end:]
        try:
            self.documents: list[Json] = [dict(from_json(line)) for line in whole.splitlines()]
        except (ValueError, TypeError):
            raise UsageError(_NOT_OURS.format(path)) from None
        if cut and not any(cut.startswith(begin) or begin.startswith(cut) for begin in _BEGINNINGS):
            raise UsageError(_NOT_OURS.format(path))
        file.truncate(len(whole))

    def append(self, document: Json) -> None:
        self._file.write(json.dumps(document, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def opened_journal(path: Path, labels: Json) -> Iterator[Journal]:
    """
    Open the journal of the file at *path*, for one run at a time.

    Args:
        path: An empty or missing file, or one that an earlier run wrote.
        labels: Fields that every event in it must have.

    Raises:
        UsageError: the file cannot be written, has other contents, or another run writes to it.
    """
    with ExitStack() as stack:
        try:
            files = [stack.enter_context(file.open("a+b")) for file in (path, path.with_name(path.name + ".journal"))]
            fcntl.flock(files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Another run writes to {path}; wait for it, or choose another --write.") from None
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}; choose another --write.") from error
        events, costs = (_Lines(path, file) for file in files)
        if any({name: event.get(name) for name in labels} != labels for event in events.documents):
            raise UsageError(f"{path} holds answers of another model or service; choose another --write.")
        yield Journal(events, costs)


class Journal:
    """
    The events of a run, one per answered probe, and the cost of each question.

    If a run was killed before an answer, the amount reserved for the question counts as its cost.

    Attributes:
        answered: Names of the probes that have an event.
        spent_usd: Cost of all runs together.
        highest_usd: Highest cost of a question so far.
        ungraded: Answers that wait for a grade, by name of the probe.
    """

    def __init__(self, events: _Lines, costs: _Lines) -> None:
        self._events, self._costs = events, costs
        self.answered = {event.get("request_id") for event in events.documents}
        paid = {line["question"]: line["usd"] for line in costs.documents}  # the last line of a question counts
        self._questions, self._reserved = max(paid, default=0), dict[int, float]()
        self.spent_usd = sum(paid.values())
        self.highest_usd = max(paid.values(), default=0.0)
        ungraded: list[Json] = [line["ungraded"] for line in costs.documents if "ungraded" in line]
        self.ungraded = {line["request_id"]: line for line in ungraded if line["request_id"] not in self.answered}

    def ask(self, reserved_usd: float) -> int:
        """Reserve an amount for the next question, and return the question's number."""
        self._questions += 1
        self._reserved[self._questions] = reserved_usd
        self._costs.append({"question": self._questions, "usd": reserved_usd})
        return self._questions

    def pay(self, question: int, cost_usd: float | None, ungraded: Json | None = None) -> None:
        """Save the cost of *question* (if unknown, the reserved amount), and an answer that waits for its grade."""
        reserved = self._reserved.pop(question)
        usd = reserved if cost_usd is None else cost_usd
        self.spent_usd += usd
        self.highest_usd = max(self.highest_usd, usd)
        self._costs.append({"question": question, "usd": usd, **({"ungraded": ungraded} if ungraded else {})})

    def save(self, event: Json) -> None:
        """Save the event of an answer."""
        self._events.append(event)
        self.answered.add(event["request_id"])
