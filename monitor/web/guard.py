"""Who may ask: no page of another site, whatever name it made the address of this machine bear."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ANY_HOST = "*"

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_OWN_SITES = frozenset({"same-origin", "none"})


class RequestGuard:
    """
    Refuses what a web page of another site makes a browser of ours ask.

    - A request that changes something must not come from another origin (cross-site request forgery).
    - The host that is asked for must be an address, `localhost` or an allowed name, since a page can let its own name
      point to this machine and is of the same origin then (DNS rebinding).

    Programs such as curl and Prometheus send neither an origin nor a made-up host.

    Args:
        app: What is guarded.
        allowed_hosts: Names that may be asked for; `*` among them for any.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope["method"], Headers(scope=scope)) if scope["type"] == "http" else ""
        if refusal:
            await PlainTextResponse(f"{refusal}\n", status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> str:
        host = headers.get("host", "")
        if not self._is_allowed(host):
            return "This host name is not served; ask for the address, or add the name to web.allowed_hosts."
        if method not in _SAFE_METHODS and not _is_same_origin(headers, host):
            return "A page of another site may not change anything here."
        return ""

    def _is_allowed(self, host: str) -> bool:
        if not host or ANY_HOST in self._allowed:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name == "localhost" or name in self._allowed or is_address(name)


def is_address(name: str) -> bool:
    """Whether *name* is an IP address and not a name that somebody else resolves."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether *name* is reached from this machine alone."""
    return name == "localhost" or (is_address(name) and ip_address(name).is_loopback)


def _is_same_origin(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN_SITES
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()
