"""Measures the cost of each stage of the service while it runs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

from monitor.ledger.sql import SqlLedger
from monitor.service import loop, pipeline
from monitor.service.publisher import Publisher
from monitor.service.review import Reviewer

_T = TypeVar("_T")

STAGES = ("poll", "decode", "features and tag", "ledger", "due spans", "assembly", "snapshot", "review")


class Stopwatch:
    """CPU seconds by stage, and number of entries; a stage inside another one is not counted for the outer stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inner = [0.0]

    def timed(self, stage: str, work: Callable[..., _T]) -> Callable[..., _T]:
        """*work*, measured as *stage* at each call."""

        def measured(*args: Any, **kwargs: Any) -> _T:
            self._inner.append(0.0)
            start = time.process_time()
            try:
                return work(*args, **kwargs)
            finally:
                took = time.process_time() - start
                self.seconds[stage] += took - self._inner.pop()
                self.calls[stage] += 1
                self._inner[-1] += took

        return measured

    def lap(self) -> Mapping[str, float]:
        """Seconds by stage since the last lap."""
        lap = dict(self.seconds)
        self.seconds.clear()
        self.calls.clear()
        return lap

    @contextmanager
    def on_service(self, source: Any) -> Iterator[None]:
        """Measures the service with *source* while the context is open; enter it before you create the service."""
        with (
            mock.patch.object(source, "poll", self.timed("poll", source.poll)),
            mock.patch.object(loop, "decode_records", self.timed("decode", pipeline.decode_records)),
            mock.patch.object(pipeline, "tag_events", self.timed("features and tag", pipeline.tag_events)),
            mock.patch.object(SqlLedger, "record", self.timed("ledger", SqlLedger.record)),
            mock.patch.object(SqlLedger, "due_spans", self.timed("due spans", SqlLedger.due_spans)),
            mock.patch.object(loop, "assemble", self.timed("assembly", pipeline.assemble)),
            mock.patch.object(Publisher, "publish", self.timed("snapshot", Publisher.publish)),
            mock.patch.object(Reviewer, "review", self.timed("review", Reviewer.review)),
        ):
            yield
