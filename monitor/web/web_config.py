"""A Prometheus `web.config.file`: TLS, headers and basic authentication of the listener."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from monitor.config.file import KeyPath, Problem, parse_config_file
from monitor.errors import ConfigInvalid

_KEYS = ("tls_server_config", "http_server_config", "basic_auth_users")
_FILE_KEYS = ("cert_file", "key_file")
_TLS_KEYS = (*_FILE_KEYS, "client_ca_file", "client_auth_type", "min_version", "max_version")
_HTTP_KEYS = ("http2", "headers")
_HEADERS = (
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
)
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {  # by Prometheus' names
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_BCRYPT_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_HIGHEST_BCRYPT_COST = 15  # a wrong password costs two seconds of a core


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """
    How TLS is spoken.

    Attributes:
        certificate: PEM file of the server's certificate, with its chain.
        key: PEM file of its key, without a password.
        client_authority: PEM file of the authorities that sign clients' certificates, or None.
        client_auth: Whether clients have to show one.
        min_version: Oldest version that is spoken, 1.2 or 1.3.
        max_version: Newest version that is spoken.
    """

    certificate: Path
    key: Path
    client_authority: Path | None = None
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3


@dataclass(frozen=True, slots=True)
class WebConfig:
    """
    How the listener is guarded.

    Attributes:
        tls: None for plain HTTP.
        users: bcrypt hash of each user's password; empty for no authentication.
        headers: Headers of every answer.
    """

    tls: TlsConfig | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


def load_web_config(path: Path) -> WebConfig:
    """
    The checked web config of the file at *path*; file names in it are relative to its folder.

    Raises:
        ConfigInvalid: with one line `file:line: key: what is wrong` for every problem; no hash is repeated.
    """
    try:
        file = parse_config_file(path.read_bytes())
    except OSError as error:
        raise ConfigInvalid(
            f"{path.absolute()}: web.config_file cannot be read: {error.strerror}; correct or empty it"
        ) from error
    found = [Problem(file.line(at), at, sentence) for at, sentence in _problems(file.values, path.parent)]
    problems = sorted([*file.problems, *found], key=lambda problem: problem.line)
    if problems:
        raise ConfigInvalid("\n".join(each.of(str(path)) for each in problems))
    tls, http = file.values.get("tls_server_config"), file.values.get("http_server_config") or {}
    return WebConfig(
        tls=None if tls is None else _tls(tls, path.parent),
        users=file.values.get("basic_auth_users") or {},
        headers=http.get("headers") or {},
    )


def _tls(tls: Mapping[str, str], folder: Path) -> TlsConfig:
    authority = tls.get("client_ca_file")
    return TlsConfig(
        certificate=folder / tls["cert_file"],
        key=folder / tls["key_file"],
        client_authority=folder / authority if authority else None,
        client_auth=_CLIENT_AUTH[tls.get("client_auth_type", "NoClientCert")],
        min_version=_VERSIONS[tls.get("min_version", "TLS12")],
        max_version=_VERSIONS[tls.get("max_version", "TLS13")],
    )


_Found = Iterator[tuple[KeyPath, str]]


def _problems(values: Mapping[str, Any], folder: Path) -> _Found:
    """Where something is wrong, and what."""
    yield from _not_read(values, _KEYS)
    sections = (
        ("tls_server_config", _TLS_KEYS, partial(_tls_problems, folder=folder)),
        ("http_server_config", _HTTP_KEYS, _http_problems),
    )
    for name, keys, problems in sections:
        section = values.get(name)
        if isinstance(section, dict):
            found = (*_not_read(section, keys), *problems(section))
            yield from (((name, *path), sentence) for path, sentence in found)
        elif section is not None:
            yield (name,), f"must be a mapping with the keys {', '.join(keys)}"
    users = values.get("basic_auth_users")
    if isinstance(users, dict):
        yield from _user_problems(users)
    elif users is not None:
        yield ("basic_auth_users",), "must be a mapping of user names to bcrypt hashes"


def _tls_problems(tls: Mapping[str, Any], folder: Path) -> _Found:
    for key in _FILE_KEYS:
        if not isinstance(tls.get(key), str):
            yield (key,), "is missing (the path of a PEM file)"
    for key in (*_FILE_KEYS, "client_ca_file"):
        name = tls.get(key)
        if isinstance(name, str) and name and not (folder / name).is_file():
            yield (key,), f"{folder / name} is not a file"
    if tls.get("client_auth_type", "NoClientCert") != "NoClientCert" and not tls.get("client_ca_file"):
        yield ("client_ca_file",), "is missing (a PEM file of the authorities that sign clients' certificates)"
    choices = {"client_auth_type": tuple(_CLIENT_AUTH)}
    choices |= dict.fromkeys(("min_version", "max_version"), tuple(_VERSIONS))
    for key, allowed in choices.items():
        if key in tls and tls[key] not in allowed:
            yield (key,), f"is not offered here (allowed: {', '.join(allowed)})"
    if tls.get("min_version") == "TLS13" and tls.get("max_version") == "TLS12":
        yield ("max_version",), "is older than min_version"


def _http_problems(http: Mapping[str, Any]) -> _Found:
    if http.get("http2", False) is not False:
        yield ("http2",), "must be false: HTTP/1.1 is spoken"
    headers = http.get("headers")
    if headers is None:
        return
    if not isinstance(headers, dict):
        yield ("headers",), "must be a mapping of headers to their values"
        return
    yield from ((("headers", *path), sentence) for path, sentence in _not_read(headers, _HEADERS))
    for name, value in headers.items():
        if name in _HEADERS and not (isinstance(value, str) and value.isascii() and value.isprintable()):
            yield ("headers", name), "must be a line of plain text"


def _user_problems(users: Mapping[str, Any]) -> _Found:
    for name, hashed in users.items():
        found = _BCRYPT_HASH.fullmatch(hashed) if isinstance(hashed, str) else None
        if found is None:
            yield ("basic_auth_users", name), "is not a bcrypt hash; `htpasswd -nBC 10 USER` makes one"
        elif int(found[1]) > _HIGHEST_BCRYPT_COST:
            sentence = f"has a cost above {_HIGHEST_BCRYPT_COST}, so that a few wrong passwords would keep a core busy"
            yield ("basic_auth_users", name), f"{sentence}; `htpasswd -nBC 10 USER` makes another"


def _not_read(section: Mapping[str, Any], allowed: tuple[str, ...]) -> _Found:
    for key in section:
        if key not in allowed:
            yield (key,), f"is not read by this version (allowed: {', '.join(allowed)})"


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """
    A server's context out of the files of *tls*.

    Raises:
        ConfigInvalid: the files are not a certificate and its key, or hold no authority for clients.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = tls.min_version
    context.maximum_version = tls.max_version
    context.verify_mode = tls.client_auth
    load_certificate(context, tls)
    if tls.client_authority is not None:
        try:
            context.load_verify_locations(tls.client_authority)
        except ssl.SSLError as error:
            raise ConfigInvalid(
                f"web.config_file: client_ca_file holds no certificate of an authority ({error.reason}); "
                "it must be a PEM file"
            ) from error
    return context


def load_certificate(context: ssl.SSLContext, tls: TlsConfig) -> None:
    """
    Let *context* show the certificate that the files of *tls* hold now.

    Raises:
        ConfigInvalid: they are not a certificate and its key.
    """
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=str)  # empty: OpenSSL must not ask at the terminal
    except ssl.SSLError as error:
        raise ConfigInvalid(
            f"web.config_file: cert_file and key_file are not a certificate and its key ({error.reason}); "
            "both must be PEM files, the key without a password"
        ) from error
    except OSError as error:
        raise ConfigInvalid(f"web.config_file: cert_file or key_file cannot be read: {error.strerror}") from error
