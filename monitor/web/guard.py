"""Who may ask: no page of another site, whatever name it gave the address of this machine, and only who has a login."""

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
"""Paths that answer without a password, since a kubelet has none; they tell a guest the status alone."""

IS_GUEST = "cliffwatch.is_guest"
"""Key of a request's scope: whether it came without the password that is asked for."""

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_OWN_SITES = frozenset({"same-origin", "none"})
_LOGIN = {"WWW-Authenticate": 'Basic realm="cliffwatch", charset="UTF-8"'}
_MOST_REMEMBERED = 100
_LONGEST_PASSWORD_BYTES = 72  # bcrypt looks no further, and refuses longer ones


class Guard:
    """
    Refuses what a web page of another site makes your browser ask, and who has no password where one is needed.

    - A request that changes something must not come from another origin (cross-site request forgery).
    - The host that is asked for must be an address, `localhost` or an allowed name, since a page can let its own name
      point to this machine and is of the same origin then (DNS rebinding).

    Programs such as curl and Prometheus send neither an origin nor a made-up host.

    Args:
        app: What is guarded.
        allowed_hosts: Names that may be asked for; `*` among them for any.
        users: bcrypt hash of each user's password; empty to ask for none.
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
            served = "This host name is not allowed; use the IP address, or add the name to web.allowed_hosts.\n"
            return PlainTextResponse(served, status_code=403)
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
    Tells whether a request's user and password are right.

    A password that fitted is remembered by its keyed digest, since bcrypt takes 50 ms and Prometheus asks every few
    seconds. All others are tried one at a time, so that guessing takes one core at most; who is remembered waits for
    none of them. A user that does not exist costs as much time as the one whose hash is the dearest.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name: hashed.encode() for name, hashed in users.items()}
        self._nobody = max(self._users.values(), key=lambda hashed: hashed[4:6])  # their cost
        self._one_at_a_time = asyncio.Lock()
        self._digest_key = secrets.token_bytes(32)
        self._remembered: set[bytes] = set()

    async def fit(self, authorization: str) -> bool:
        """Whether this header holds a user and the password of that user."""
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
    """Whether *name* is reached from this machine alone."""
    return name == "localhost" or ((address := _address(name)) is not None and address.is_loopback)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    """The IP address that *name* is, and not a name that somebody else resolves."""
    with suppress(ValueError):
        return ip_address(name)
    return None


def _is_same_origin(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN_SITES
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()
