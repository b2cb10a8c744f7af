"""A Prometheus `web.config.file`: TLS, headers and basic authentication of the listener."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from monitor.config.file import bytes_of, read_settings
from monitor.config.settings import Settings
from monitor.errors import ConfigInvalid, os_errors

_Header = Literal[
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
]
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {  # names as in Prometheus
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_BCRYPT_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_HIGHEST_BCRYPT_COST = 15  # a wrong password costs two seconds of a core


def _existing(name: Path, info: ValidationInfo) -> Path:
    path: Path = (info.context or Path()) / name
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    return path


def _affordable(hashed: object) -> object:
    match = _BCRYPT_HASH.fullmatch(hashed) if isinstance(hashed, str) else None
    if match is None:
        raise ValueError("is not a bcrypt hash; `htpasswd -nBC 10 USER` makes one")
    if int(match[1]) > _HIGHEST_BCRYPT_COST:
        raise ValueError(
            f"has a cost above {_HIGHEST_BCRYPT_COST}, so that a few wrong passwords would keep a core busy; "
            "`htpasswd -nBC 10 USER` makes another"
        )
    return hashed


def _plain(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("must be a line of plain text")
    return value


_PemFile = Annotated[Path, AfterValidator(_existing)]
_TlsVersion = Literal["TLS12", "TLS13"]


class TlsConfig(Settings):
    """TLS of the listener; all files are PEM, the key without a password."""

    cert_file: _PemFile
    key_file: _PemFile
    client_ca_file: _PemFile | None = None
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    min_version: _TlsVersion = "TLS12"
    max_version: _TlsVersion = "TLS13"

    @field_validator("client_auth_type")
    @classmethod
    def _has_authority(cls, value: str, info: ValidationInfo) -> str:
        if value != "NoClientCert" and info.data.get("client_ca_file", "wrong itself") is None:
            raise ValueError("needs client_ca_file (a PEM file of the authorities that sign clients' certificates)")
        return value

    @field_validator("max_version")
    @classmethod
    def _is_newest(cls, value: str, info: ValidationInfo) -> str:
        if value < info.data.get("min_version", ""):
            raise ValueError("is older than min_version")
        return value


class HttpConfig(Settings):
    """Headers of every response."""

    http2: Literal[False] = False
    headers: dict[_Header, Annotated[str, AfterValidator(_plain)]] | None = None


class WebConfig(Settings):
    """TLS, headers and users of the listener; by default plain HTTP without authentication."""

    tls_server_config: TlsConfig | None = None
    http_server_config: HttpConfig = HttpConfig()
    basic_auth_users: dict[str, Annotated[str, BeforeValidator(_affordable)]] = Field(default={}, repr=False)


def load_web_config(path: Path) -> WebConfig:
    """
    The checked web config of the file at *path*; file names in it are relative to its folder.

    Raises:
        ConfigInvalid: with one line `file:line: key: what is wrong` for every problem; no hash is repeated.
    """
    with os_errors(ConfigInvalid, f"{path.absolute()}: web.config_file cannot be read", "correct or empty it"):
        content = bytes_of(path)
    return read_settings(WebConfig, str(path), content, context=path.parent)


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """
    A TLS context for the server, from the files of *tls*.

    Raises:
        ConfigInvalid: the files are not a certificate and its key, or client_ca_file has no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.verify_mode = _CLIENT_AUTH[tls.client_auth_type]
    load_certificate(context, tls)
    if tls.client_ca_file is not None:
        problem = "client_ca_file holds no certificate of an authority"
        with _pem_errors("client_ca_file", problem, "it must be a PEM file"):
            context.load_verify_locations(tls.client_ca_file)
    return context


def load_certificate(context: ssl.SSLContext, tls: TlsConfig) -> None:
    """
    Load the present certificate of the files of *tls* into *context*.

    Raises:
        ConfigInvalid: they are not a certificate and its key.
    """
    problem = "cert_file and key_file are not a certificate and its key"
    with _pem_errors("cert_file or key_file", problem, "both must be PEM files, the key without a password"):
        # `str` returns an empty password, so that OpenSSL does not ask for one at the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, password=str)


@contextmanager
def _pem_errors(files: str, problem: str, advice: str) -> Iterator[None]:
    """Translate errors of OpenSSL into `ConfigInvalid` with *problem*, and errors on reading *files*."""
    try:
        yield
    except ssl.SSLError as error:
        raise ConfigInvalid(f"web.config_file: {problem} ({error.reason}); {advice}") from error
    except OSError as error:
        raise ConfigInvalid(f"web.config_file: {files} cannot be read: {error.strerror}") from error
