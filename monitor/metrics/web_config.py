"""A Prometheus `web.config.file`: TLS and basic authentication of the listener."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.config_file import ConfigFile, KeyPath, Problem, parse_config_file
from monitor.errors import ConfigInvalid

_KEYS = ("tls_server_config", "basic_auth_users")
_TLS_KEYS = ("cert_file", "key_file")
_BCRYPT_HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the server's certificate (with its chain) and key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class WebConfig:
    """
    How the listener is guarded.

    Attributes:
        tls: None for plain HTTP.
        users: bcrypt hash of each user's password; empty for no authentication.
    """

    tls: TlsFiles | None = None
    users: Mapping[str, str] = field(default_factory=dict)


def load_web_config(path: Path) -> WebConfig:
    """
    The checked web config of the file at *path*; file names in it are relative to its folder.

    Raises:
        ConfigInvalid: with one line `file:line: key: what is wrong` for every problem; no hash is repeated.
    """
    try:
        file = parse_config_file(path.read_bytes())
    except OSError as error:
        raise ConfigInvalid(f"{path}: web.config_file cannot be read: {error.strerror}; mend or empty it") from error
    problems = sorted([*file.problems, *_problems(file, path.parent)], key=lambda problem: problem.line)
    if problems:
        raise ConfigInvalid("\n".join(f"{path}:{each.line}: {_key(each.path)}{each.sentence}" for each in problems))
    tls = file.values.get("tls_server_config")
    return WebConfig(
        tls=None if tls is None else TlsFiles(path.parent / tls["cert_file"], path.parent / tls["key_file"]),
        users=file.values.get("basic_auth_users") or {},
    )


def _problems(file: ConfigFile, folder: Path) -> Iterator[Problem]:
    for key in file.values:
        if key not in _KEYS:
            yield _unknown(file, (key,), _KEYS)
    tls, users = file.values.get("tls_server_config"), file.values.get("basic_auth_users")
    if tls is not None:
        yield from _tls_problems(file, tls, folder)
    if users is not None:
        yield from _user_problems(file, users)


def _tls_problems(file: ConfigFile, tls: Any, folder: Path) -> Iterator[Problem]:
    path: KeyPath = ("tls_server_config",)
    if not isinstance(tls, dict):
        yield Problem(file.line(path), path, f"must be a mapping with the keys {', '.join(_TLS_KEYS)}")
        return
    for key in tls:
        if key not in _TLS_KEYS:
            yield _unknown(file, (*path, key), _TLS_KEYS)
    for key in _TLS_KEYS:
        name = tls.get(key)
        if not isinstance(name, str):
            yield Problem(file.line((*path, key)), (*path, key), "is missing (the path of a PEM file)")
        elif not (folder / name).is_file():
            yield Problem(file.line((*path, key)), (*path, key), f"{folder / name} is no file")


def _user_problems(file: ConfigFile, users: Any) -> Iterator[Problem]:
    path: KeyPath = ("basic_auth_users",)
    if not isinstance(users, dict):
        yield Problem(file.line(path), path, "must be a mapping of user names to bcrypt hashes")
        return
    for name, hashed in users.items():
        if not (isinstance(hashed, str) and _BCRYPT_HASH.fullmatch(hashed)):
            sentence = "is no bcrypt hash; `htpasswd -nBC 10 USER` makes one"
            yield Problem(file.line((*path, name)), (*path, name), sentence)


def _unknown(file: ConfigFile, path: KeyPath, allowed: tuple[str, ...]) -> Problem:
    return Problem(file.line(path), path, f"is not read by this version (allowed: {', '.join(allowed)})")


def _key(path: KeyPath) -> str:
    return f"{'.'.join(str(step) for step in path)}: " if path else ""
