"""What was answered and spent so far, on disk before anything else happens: a run that is killed goes on there."""

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
    """A file of JSON lines that only grows; a line that a crash cut off is taken away."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)
        content = file.read()
        end = content.rfind(b"\n") + 1
        whole, cut = content[:end], content[end:]
        try:
            self.found: list[Json] = [dict(from_json(line)) for line in whole.splitlines()]
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
    The journal of the file at *path*, for one run at a time.

    Args:
        path: An empty or missing file, or one that an earlier run wrote.
        labels: What every event in it carries.

    Raises:
        UsageError: the file cannot be written, holds something else, or another run writes to it.
    """
    with ExitStack() as stack:
        try:
            files = [stack.enter_context(each.open("a+b")) for each in (path, path.with_name(path.name + ".journal"))]
            fcntl.flock(files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Another run writes to {path}; wait for it, or choose another --write.") from None
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}; choose another --write.") from error
        events, costs = (_Lines(path, file) for file in files)
        if any({name: event.get(name) for name in labels} != labels for event in events.found):
            raise UsageError(f"{path} holds answers of another model or service; choose another --write.")
        yield Journal(events, costs)


class Journal:
    """
    The events of a run, one per answered probe, and beside them what each question cost.

    A question whose end is missing, because the run was killed, counts as having cost what was set aside for it.

    Attributes:
        answered: Names of the probes that have their event.
        spent_usd: What all runs together cost.
        dearest_usd: What the dearest question so far did cost.
        ungraded: By name of the probe, answers that wait for a grade.
    """

    def __init__(self, events: _Lines, costs: _Lines) -> None:
        self._events, self._costs = events, costs
        self.answered = {event.get("request_id") for event in events.found}
        paid = {line["question"]: line["usd"] for line in costs.found}  # the last word of each counts
        self._questions, self._set_aside = max(paid, default=0), dict[int, float]()
        self.spent_usd = sum(paid.values())
        self.dearest_usd = max(paid.values(), default=0.0)
        waiting: list[Json] = [line["ungraded"] for line in costs.found if "ungraded" in line]
        self.ungraded = {each["request_id"]: each for each in waiting if each["request_id"] not in self.answered}

    def ask(self, set_aside_usd: float) -> int:
        """The number of a question that is about to be asked, and may cost so much."""
        self._questions += 1
        self._set_aside[self._questions] = set_aside_usd
        self._costs.append({"question": self._questions, "usd": set_aside_usd})
        return self._questions

    def pay(self, question: int, cost_usd: float | None, ungraded: Json | None = None) -> None:
        """Keep what *question* cost (if unknown, what was set aside for it), and an answer without a grade."""
        aside = self._set_aside.pop(question)
        usd = aside if cost_usd is None else cost_usd
        self.spent_usd += usd
        self.dearest_usd = max(self.dearest_usd, usd)
        self._costs.append({"question": question, "usd": usd, **({"ungraded": ungraded} if ungraded else {})})

    def keep(self, event: Json) -> None:
        """Keep the event of an answer."""
        self._events.append(event)
        self.answered.add(event["request_id"])
