"""What is answered out of a snapshot: made once however many ask, and sent so that a slow reader costs little."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from monitor.metrics.snapshot import Snapshot, SnapshotHolder

CLOSE_NOW = "cliffwatch.close_now"
"""Key, among a request's extensions, of the function that ends its connection without further waiting."""

_CHUNK_BYTES = 64 * 1024
_MOST_OLD_BYTES = 64 * 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_FAST = 1  # a tenth of the size in a tenth of the time that the encoding took


@dataclass(eq=False, slots=True)
class Body:
    """
    Bytes that were made once, and who is reading them.

    Attributes:
        readers: What ends the connection of each reader; counted, since a test may have none.
    """

    content: bytes
    readers: list[Callable[[], None]] = field(default_factory=list)


class SnapshotBodies:
    """
    The bodies of the current snapshot, by what they show.

    One is made at a time, in a thread of its own, so that however many ask, all of them together take no more than one
    thread's share from who reads records. Slow readers keep what they read in memory; of bodies that are older than
    the last two no more than *most_old_bytes* are kept, those who read the oldest are cut off.

    Args:
        snapshots: What is shown.
        most_old_bytes: Bytes of old bodies that readers may hold.
    """

    def __init__(self, snapshots: SnapshotHolder, *, most_old_bytes: int = _MOST_OLD_BYTES) -> None:
        self._snapshots = snapshots
        self._most_old_bytes = most_old_bytes
        self._made: dict[Hashable, tuple[Snapshot, Body]] = {}
        self._handed_out: list[Body] = []
        self._one_at_a_time = asyncio.Lock()

    async def get(self, what: Hashable, make: Callable[[Snapshot], bytes], *, is_gzipped: bool = False) -> Body:
        """
        The body of the current snapshot that shows *what*.

        Args:
            what: Names the body among those of a snapshot.
            make: Makes it, where it is asked for the first time; runs in a thread.
            is_gzipped: Give it as a gzip file, which is packed once.
        """
        if known := self._known((what, is_gzipped)):
            return known
        async with self._one_at_a_time:
            plain = await self._get((what, False), make)
            if not is_gzipped:
                return plain
            return await self._get((what, True), lambda _: zlib.compress(plain.content, _FAST, wbits=_GZIP))

    def _known(self, what: Hashable) -> Body | None:
        snapshot, body = self._made.get(what, (None, None))
        return body if snapshot is self._snapshots.current else None

    async def _get(self, what: Hashable, make: Callable[[Snapshot], bytes]) -> Body:
        if known := self._known(what):
            return known
        snapshot = self._snapshots.current
        body = Body(await asyncio.to_thread(make, snapshot))
        self._made = {name: made for name, made in self._made.items() if made[0] is snapshot}
        self._made[what] = snapshot, body
        self._cut_off_readers_of_old(body)
        return body

    def _cut_off_readers_of_old(self, newest: Body) -> None:
        old = [body for body in self._handed_out if body.readers]
        self._handed_out = [*old, newest]
        held = sum(len(body.content) for body in old[:-1])
        for body in old[:-1]:
            if held <= self._most_old_bytes:
                break
            held -= len(body.content)
            for close in body.readers:
                close()


class BodyResponse(Response):
    """
    Sends a body piece by piece, so that a connection's buffer never holds more of it than one piece.

    Args:
        body: What is sent.
        headers: Headers beside the length.
    """

    def __init__(self, body: Body, headers: dict[str, str], *, status_code: int = 200) -> None:
        self._body = body
        super().__init__(None, status_code, {**headers, "Content-Length": str(len(body.content))})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        # A server that is not ours has nothing to close.
        close_now = scope.get("extensions", {}).get(CLOSE_NOW, lambda: None)
        self._body.readers.append(close_now)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            content = memoryview(self._body.content)
            for start in range(0, len(content), _CHUNK_BYTES):
                piece = bytes(content[start : start + _CHUNK_BYTES])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._body.readers.remove(close_now)
