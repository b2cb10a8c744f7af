"""The TLS of the listener, as a web config file describes it."""

from __future__ import annotations

import ssl

from monitor.errors import ConfigInvalid
from monitor.web.web_config import ClientAuth, TlsConfig

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.VERIFY_IF_GIVEN: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRE_AND_VERIFY: ssl.CERT_REQUIRED,
}


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """
    A server's context out of the files of *tls*.

    Raises:
        ConfigInvalid: the files are not a certificate and its key, or hold no authority for clients.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.verify_mode = _CLIENT_AUTH[tls.client_auth]
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
