"""Response bodies from a snapshot: rendered once for all requests, and sent so that a slow client costs little."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from monitor.metrics.snapshot import Snapshot, SnapshotHolder

CLOSE_NOW = "cliffwatch.close_now"
"""Key in the `extensions` of a request's scope: a function that closes its connection at once."""

_CHUNK_BYTES = 64 * 1024
_MOST_OLD_BYTES = 64 * 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_FAST = 1  # compression level: a tenth of the size, in a tenth of the time that the encoding took


@dataclass(eq=False, slots=True)
class Body:
    """
    A rendered body, and the clients that are receiving it.

    Attributes:
        readers: For each client that is receiving the body, the function that closes its connection.
    """

    content: bytes
    readers: list[Callable[[], None]] = field(default_factory=list)


class SnapshotBodies:
    """
    Caches the bodies of the current snapshot.

    Bodies are rendered one at a time, in another thread, so that many requests together take no more than one thread's
    share of the CPU from the main loop. A slow client keeps the body that it receives in memory: if bodies older than
    the last two exceed *most_old_bytes*, the clients of the oldest are disconnected.

    Args:
        snapshots: Holds the current snapshot.
        most_old_bytes: Most bytes of old bodies in memory.
    """

    def __init__(self, snapshots: SnapshotHolder, *, most_old_bytes: int = _MOST_OLD_BYTES) -> None:
        self._snapshots = snapshots
        self._most_old_bytes = most_old_bytes
        self._made: dict[Hashable, tuple[Snapshot, Body]] = {}
        self._handed_out: list[Body] = []
        self._one_at_a_time = asyncio.Lock()

    async def get(self, what: Hashable, make: Callable[[Snapshot], bytes], *, is_gzipped: bool = False) -> Body:
        """
        The body *what* of the current snapshot.

        Args:
            what: Key of the body.
            make: Renders it on the first request; runs in a thread.
            is_gzipped: Return it compressed; it is compressed once.
        """
        if cached := self._cached((what, is_gzipped)):
            return cached
        async with self._one_at_a_time:
            plain = await self._get((what, False), make)
            if not is_gzipped:
                return plain
            return await self._get((what, True), lambda _: zlib.compress(plain.content, _FAST, wbits=_GZIP))

    def _cached(self, what: Hashable) -> Body | None:
        snapshot, body = self._made.get(what, (None, None))
        return body if snapshot is self._snapshots.current else None

    async def _get(self, what: Hashable, make: Callable[[Snapshot], bytes]) -> Body:
        if cached := self._cached(what):
            return cached
        snapshot = self._snapshots.current
        body = Body(await asyncio.to_thread(make, snapshot))
        self._made = {name: made for name, made in self._made.items() if made[0] is snapshot}
        self._made[what] = snapshot, body
        self._cut_off_readers_of_old(body)
        return body

    def _cut_off_readers_of_old(self, newest: Body) -> None:
        old = [body for body in self._handed_out if body.readers]
        self._handed_out = [*old, newest]
        size = sum(len(body.content) for body in old[:-1])
        for body in old[:-1]:
            if size <= self._most_old_bytes:
                break
            size -= len(body.content)
            for close in body.readers:
                close()


class BodyResponse(Response):
    """
    Sends a body chunk by chunk, so that a connection's buffer never holds more than one chunk.

    Args:
        body: The body.
        headers: Headers, without Content-Length.
    """

    def __init__(self, body: Body, headers: dict[str, str], *, status_code: int = 200) -> None:
        self._body = body
        super().__init__(None, status_code, {**headers, "Content-Length": str(len(body.content))})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        # Other servers, such as a test client, have no such extension.
        close_now = scope.get("extensions", {}).get(CLOSE_NOW, lambda: None)
        self._body.readers.append(close_now)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            content = memoryview(self._body.content)
            for start in range(0, len(content), _CHUNK_BYTES):
                chunk = bytes(content[start : start + _CHUNK_BYTES])
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._body.readers.remove(close_now)
