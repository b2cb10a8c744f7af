"""The HTTP server: uvicorn in a thread of its own, with limits on connections and time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.errors import DependencyUnreachable, UsageError
from monitor.metrics.snapshot import SnapshotHolder
from monitor.service.rollout_control import RolloutControl
from monitor.web.app import Reload, metrics_app
from monitor.web.bodies import CLOSE_NOW
from monitor.web.guard import ANY_HOST, Guard, is_loopback
from monitor.web.settings import WebSettings
from monitor.web.web_config import WebConfig, load_certificate, load_web_config, tls_context


class _GuardedConnection(H11Protocol):
    """
    A uvicorn connection with a deadline for everything that a client can delay.

    uvicorn waits for ever for the head of a request, its body, and a client that does not read the response. A client
    that is disconnected here is too slow to be Prometheus, which gives up after ten seconds itself.

    Args:
        settings: Most connections, and time limit of each.
        options: Arguments of uvicorn's connection.

    Attributes:
        waiting_since: When it was opened or last completed a response, on the event loop's clock.
    """

    def __init__(self, settings: WebSettings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings
        self._guarded_app = self.app
        self.app = self._run_app
        self._deadline: asyncio.TimerHandle | None = None
        self.waiting_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._restart_deadline()
        others = [other for other in self.connections if isinstance(other, _GuardedConnection) and other is not self]
        if len(others) >= self._settings.max_connections:
            min(others, key=lambda other: other.waiting_since).close_now()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._restart_deadline()
        super().on_response_complete()

    def close_now(self) -> None:
        """Close the connection at once, dropping data that the client has not read."""
        self.connections.discard(self)
        self.transport.abort()

    def _restart_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.waiting_since = self.loop.time()
        self._deadline = self.loop.call_later(self._settings.timeout_seconds, self.close_now)

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), CLOSE_NOW: self.close_now}
        await self._guarded_app(scope, receive, send)


_STOP_SECONDS = 5
_IDLE_SECONDS = 20  # Prometheus scrapes every 15 seconds by default, and may keep its connection
_LARGEST_HEAD_BYTES = 16 * 1024
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class MetricsServer:
    """
    Serves `/metrics`, health, the status page and JSON from `start` to `stop`.

    Args:
        settings: Address, limits and security.
        snapshots: Holds the current snapshot.
        reload: Called by a POST to `/-/reload`; raises `MonitorError` with one sentence if it fails.
        control: Announces and ends rollouts and lists their cases; None to serve no such routes.
        stall_reason: Returns one sentence if the process hangs and needs a restart, which makes `/-/healthy` fail.

    Attributes:
        port: The port; after `start` the actual one, even if the settings say 0.

    Raises:
        UsageError: the address is not HOST:PORT.
        ConfigInvalid: the web config file cannot be used.
    """

    def __init__(
        self,
        settings: WebSettings,
        snapshots: SnapshotHolder,
        reload: Reload,
        control: RolloutControl | None = None,
        *,
        stall_reason: Callable[[], str] = str,
    ) -> None:
        self._host, self.port = parse_address(settings.listen_address)
        web = load_web_config(Path(settings.config_file)) if settings.config_file else WebConfig()
        self._tls = web.tls_server_config
        self._reload_config = reload
        hosts = settings.allowed_hosts or (() if is_loopback(self._host) else (ANY_HOST,))
        app = metrics_app(snapshots, self._reload, control, stall_reason=stall_reason)
        config = uvicorn.Config(
            Guard(app, hosts, web.basic_auth_users),
            http=partial(_GuardedConnection, settings),  # type: ignore[arg-type]  # called like a class
            ws="none",
            h11_max_incomplete_event_size=_LARGEST_HEAD_BYTES,
            timeout_keep_alive=_IDLE_SECONDS,
            headers=list(dict[str, str](_HEADERS, **(web.http_server_config.headers or {})).items()),
            proxy_headers=False,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Base URL for a browser on this machine; final after `start`."""
        host = self._host if self._host not in {"", "0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104 - compared only
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def start(self) -> None:
        """
        Listen, and serve from a thread.

        Raises:
            DependencyUnreachable: the address is in use, or not an address of this machine.
            ConfigInvalid: the TLS files are not a certificate and its key.
        """
        config = self._server.config
        config.load()  # here and not in the thread, so that errors in the TLS files are reported
        if self._tls is not None:
            config.ssl = tls_context(self._tls)
        listener = self._bind()
        self.port = listener.getsockname()[1]
        serve = partial(self._server.run, sockets=[listener])
        self._thread = threading.Thread(target=serve, name="metrics-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, complete responses under way, and wait for the thread; safe to call twice."""
        if self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(timeout=2 * _STOP_SECONDS)
        self._thread = None

    def _reload(self) -> str | None:
        """Load a renewed certificate for new connections, then reload the config; returns what changed."""
        context = self._server.config.ssl
        if self._tls is not None and context is not None:
            load_certificate(context, self._tls)
        return self._reload_config()

    def _bind(self) -> socket.socket:
        where, is_v6 = (self._host, self.port), ":" in self._host
        family = socket.AF_INET6 if is_v6 else socket.AF_INET
        both = is_v6 and socket.has_dualstack_ipv6()  # [::] accepts IPv4 as well
        try:
            return socket.create_server(where, family=family, backlog=socket.SOMAXCONN, dualstack_ipv6=both)
        except OSError as error:
            reason = str(error.strerror).partition(" (while attempting")[0]  # the rest repeats the address
            raise DependencyUnreachable(
                f"cannot listen on {self._host}:{self.port}: {reason}; "
                "stop what uses that port or set another web.listen_address"
            ) from error


def parse_address(address: str) -> tuple[str, int]:
    """
    Host and port of `HOST:PORT`; an empty host means every interface.

    Raises:
        UsageError: *address* has another form.

    >>> parse_address("[::1]:9464")
    ('::1', 9464)
    """
    try:
        parts = urlsplit(f"//{address}")
        port = parts.port
    except ValueError:
        port = None
    if port is None or parts.path or parts.query or parts.fragment or parts.username is not None:
        raise UsageError("web.listen_address: not HOST:PORT; write 127.0.0.1:9464, for example")
    return parts.hostname or "", port
