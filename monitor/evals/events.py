"""Eval results as native events of environment `reference`: what teaches difficulty, and what panels are made of."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from monitor.evals.cases import Attempt
from monitor.evals.formats.reading import ResultFile
from monitor.evals.requests import request_of
from monitor.trace.labels import clean_label
from monitor.trace.model import REFERENCE_ENVIRONMENT

_SERVICE = "evals"
_APART = timedelta(microseconds=1)  # keeps the order of the file, and files apart that were written one by one


def as_events(result: ResultFile, *, written_at: datetime) -> Iterator[bytes]:
    """
    Every attempt of *result* as one native event in JSON.

    The same attempt gives the same trace id whenever it is read, so that it counts once in a ledger.

    Args:
        result: What a file of eval results said.
        written_at: When the file was written, where it does not say so itself.
    """
    started_at = _told(result.written) or written_at
    times: Counter[tuple[object, ...]] = Counter()
    for attempt in result.attempts:
        names = (attempt.model or PurePath(result.name).stem, *attempt.key, attempt.repeat or "")
        times[names] += 1
        yield _event(attempt, (*names, attempt.attempt_id or times[names]), started_at)
        started_at += _APART


def _event(attempt: Attempt, names: Sequence[object], started_at: datetime) -> bytes:
    request = request_of(attempt.key, attempt.capability, attempt.input_text)
    event: dict[str, Any] = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": hashlib.blake2b("\x1f".join(map(str, names)).encode(), digest_size=16).hexdigest(),
        "service": _SERVICE,
        "environment": REFERENCE_ENVIRONMENT,
        "model_version": clean_label(str(names[0])) or "unnamed",
        "capability": request.capability,
        "request_id": request.request_id,
        "started_at": started_at.isoformat(),
        "request": {} if request.text is None else {"text": request.text},
    }
    if attempt.passed is not None:
        event["outcome"] = {"success": attempt.passed, "source": "judge"}
    return json.dumps(event).encode()


def _told(written: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
