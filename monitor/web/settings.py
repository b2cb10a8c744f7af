"""Where the metrics and the status page are served."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import PositiveFloat

from monitor.config.settings import Settings


class WebSettings(Settings):
    """The listener of `/metrics`, health, the status page and JSON."""

    listen_address: Annotated[str, MinLen(1)] = "127.0.0.1:9464"
    """HOST:PORT to listen on; [::1]:9464 for IPv6, :9464 for every interface, port 0 for any free one."""

    config_file: str = ""
    """Prometheus web.config.file with tls_server_config and basic_auth_users; empty for plain HTTP."""

    allowed_hosts: tuple[str, ...] = ()
    """
    Host names by which this listener may be asked, besides addresses and localhost, or *; none of them means any
    where it listens beyond the loopback interface.
    """

    max_connections: Annotated[int, Ge(10)] = 256
    """Connections at a time; one more, and the one that has waited longest is closed."""

    timeout_seconds: PositiveFloat = 30.0
    """Longest time for a request to come and its answer to be read, in seconds."""

    trace_url: str = ""
    """Link to a trace, with {trace_id}, {service}, {environment} and {model_version} to fill in; empty for no links."""
