"""Access control: refuses requests from pages of other sites (CSRF, DNS rebinding) and requests without a password."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import bcrypt
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

ANY_HOST = "*"

PROBES = frozenset({"/-/healthy", "/-/ready"})
"""Paths that need no password, since a kubelet has none; without one they show only the status, not the reason."""

IS_GUEST = "cliffwatch.is_guest"
"""Key in a request's scope: set if a password is configured and the request has none."""

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_OWN_SITES = frozenset({"same-origin", "none"})
_LOGIN = {"WWW-Authenticate": 'Basic realm="cliffwatch", charset="UTF-8"'}
_MOST_REMEMBERED = 100
_LONGEST_PASSWORD_BYTES = 72  # bcrypt refuses longer ones


class Guard:
    """
    Refuses requests that pages of other sites send through a browser, and requests without a required password.

    - A request that changes something must not come from another origin (cross-site request forgery).
    - The Host header must be an IP address, `localhost` or an allowed name: a page can let its own host name resolve to
      this machine, and then has the same origin (DNS rebinding).

    Programs such as curl and Prometheus send neither an Origin header nor a foreign Host.

    Args:
        app: The application to protect.
        allowed_hosts: Allowed host names; `*` allows any.
        users: bcrypt hash of each user's password; empty if no password is required.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str], users: Mapping[str, str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed_hosts)
        self._passwords = _Passwords(users) if users else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = await self._refusal(scope, Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_served(host):
            problem = "This host name is not allowed; use the IP address, or add the name to web.allowed_hosts.\n"
            return PlainTextResponse(problem, status_code=403)
        if scope["method"] not in _SAFE_METHODS and not _is_same_origin(headers, host):
            return PlainTextResponse("A page of another site may not change anything here.\n", status_code=403)
        if self._passwords is not None and not await self._passwords.fit(headers.get("authorization", "")):
            if scope["path"] not in PROBES:
                return PlainTextResponse("Unauthorized\n", status_code=401, headers=_LOGIN)
            scope[IS_GUEST] = True
        return None

    def _is_served(self, host: str) -> bool:
        if not host or ANY_HOST in self._allowed:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name == "localhost" or name in self._allowed or _address(name) is not None


class _Passwords:
    """
    Checks users and passwords.

    Since bcrypt takes 50 ms and Prometheus scrapes every few seconds, a correct password is cached as a keyed digest.
    Other passwords are checked one at a time, so that guessing takes at most one core and does not delay cached users.
    Checking an unknown user takes as long as the most expensive hash, so that it does not reveal which users exist.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name: hashed.encode() for name, hashed in users.items()}
        self._nobody = max(self._users.values(), key=lambda hashed: hashed[4:6])  # their cost
        self._one_at_a_time = asyncio.Lock()
        self._digest_key = secrets.token_bytes(32)
        self._remembered: set[bytes] = set()

    async def fit(self, authorization: str) -> bool:
        """Whether the Authorization header has an existing user with the correct password."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        digest = hashlib.blake2b(f"{user}:".encode() + password, key=self._digest_key).digest()
        if digest in self._remembered:
            return True
        async with self._one_at_a_time:
            fits = await asyncio.to_thread(bcrypt.checkpw, password, self._users.get(user, self._nobody))
        if fits and user in self._users:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered.add(digest)
            return True
        return False


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = base64.b64decode(encoded, validate=True).partition(b":")
        name = user.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    if not separator or len(password) > _LONGEST_PASSWORD_BYTES or b"\0" in password:
        return None
    return name, password


def is_loopback(name: str) -> bool:
    """Whether *name* is a loopback address, reachable only from this machine."""
    return name == "localhost" or ((address := _address(name)) is not None and address.is_loopback)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    """*name* as an IP address; None for a host name."""
    with suppress(ValueError):
        return ip_address(name)
    return None


def _is_same_origin(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN_SITES
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()
