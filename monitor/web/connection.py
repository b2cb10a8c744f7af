"""One connection of the listener: ended where it takes too long, or where there are too many."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from monitor.web.bodies import CLOSE_NOW


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """
    What a listener grants to its connections.

    Attributes:
        most: Most connections at a time; one more closes the one that has waited longest.
        seconds: Longest time for a request to come whole and its answer to be taken whole.
    """

    most: int
    seconds: float


def guarded_connections(limits: ConnectionLimits) -> type[H11Protocol]:
    """The protocol that holds each connection to *limits*."""

    class Guarded(_GuardedConnection):
        granted = limits

    return Guarded


class _GuardedConnection(H11Protocol):
    """
    uvicorn's connection with a deadline for everything that a client can delay.

    uvicorn waits without end for the head of a request, for its body and for a client that does not read its answer.
    Whoever is closed here was too slow to be a scraper: Prometheus itself gives up after ten seconds.

    Attributes:
        granted: What it is held to.
        waiting_since: When it was made or last had an answer, on the loop's clock.
    """

    granted: ConnectionLimits

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guarded_app = self.app
        self.app = self._run_app
        self._deadline: asyncio.TimerHandle | None = None
        self.waiting_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_anew()
        others = [each for each in self.connections if isinstance(each, _GuardedConnection) and each is not self]
        if len(others) >= self.granted.most:
            min(others, key=lambda each: each.waiting_since).close_now()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._wait_anew()
        super().on_response_complete()

    def close_now(self) -> None:
        """End the connection, without waiting for what was not read yet."""
        self.connections.discard(self)
        self.transport.abort()

    def _wait_anew(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.waiting_since = self.loop.time()
        self._deadline = self.loop.call_later(self.granted.seconds, self.close_now)

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), CLOSE_NOW: self.close_now}
        await self._guarded_app(scope, receive, send)
