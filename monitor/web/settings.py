"""Settings of the HTTP server."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import Field, PositiveFloat

from monitor.config.settings import Settings

_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4})"


class WebSettings(Settings):
    """The listener of `/metrics`, health, the status page and JSON."""

    listen_address: Annotated[str, MinLen(1), Field(pattern=f":{_PORT}$")] = "127.0.0.1:9464"
    """HOST:PORT to listen on; [::1]:9464 for IPv6, :9464 for every interface, port 0 for any free one."""

    config_file: str = ""
    """Prometheus web.config.file with tls_server_config and basic_auth_users; empty for plain HTTP."""

    allowed_hosts: tuple[str, ...] = ()
    """
    Host names that requests may use, besides IP addresses and localhost; * allows any. If it is empty, any name is
    allowed unless the listener is on the loopback interface.
    """

    max_connections: Annotated[int, Ge(10)] = 256
    """Most connections at a time; a further one closes the connection that has waited longest."""

    timeout_seconds: PositiveFloat = 30.0
    """Time limit for receiving a request and sending its response, in seconds."""

    trace_url: Annotated[str, Field(pattern=r'^(https?://[^\s{}/?#@<>"\p{C}]+([/?#][^\s<>"\p{C}]*)?)?$')] = ""
    """
    Link to a trace, http or https, with the placeholders {trace_id}, {service}, {environment} and {model_version};
    empty for no links.
    """
