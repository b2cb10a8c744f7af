"""Basic authentication in front of every path of the HTTP interface."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping

import bcrypt
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_MOST_REMEMBERED = 100
_LONGEST_PASSWORD_BYTES = 72  # bcrypt looks no further, and refuses longer ones


class BasicAuth:
    """
    Lets a request through when its user's password fits the bcrypt hash.

    A password that fitted is remembered by its keyed digest, since bcrypt takes 50 ms and Prometheus asks every few
    seconds. All others are tried one at a time, so that guessing takes one core at most; who is remembered waits for
    none of them. A user that does not exist costs as much time as the one whose hash is the dearest.

    Args:
        app: What is guarded.
        users: bcrypt hash of each user's password.
    """

    def __init__(self, app: ASGIApp, users: Mapping[str, str]) -> None:
        self._app = app
        self._users = {name: hashed.encode() for name, hashed in users.items()}
        self._nobody = max(self._users.values(), key=lambda hashed: hashed[4:6])  # their cost
        self._one_at_a_time = asyncio.Lock()
        self._digest_key = secrets.token_bytes(32)
        self._remembered: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or await self._is_allowed(Headers(scope=scope).get("authorization", "")):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse(
            "Unauthorized\n", status_code=401, headers={"WWW-Authenticate": 'Basic realm="cliffwatch", charset="UTF-8"'}
        )
        await refusal(scope, receive, send)

    async def _is_allowed(self, authorization: str) -> bool:
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
