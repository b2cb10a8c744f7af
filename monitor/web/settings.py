"""Where the metrics and the status page are served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, MinLen
from typing_extensions import Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The listener of `/metrics`, health, the status page and JSON."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    listen_address: Annotated[
        str,
        MinLen(1),
        Doc("HOST:PORT to listen on; [::1]:9464 for IPv6, :9464 for every interface, port 0 for any free one."),
    ] = "127.0.0.1:9464"
    config_file: Annotated[
        str, Doc("Prometheus web.config.file with tls_server_config and basic_auth_users; empty for plain HTTP.")
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...],
        Doc(
            "Host names by which this listener may be asked, besides addresses and localhost, or *; none of them means "
            "any where it listens beyond the loopback interface."
        ),
    ] = ()
    max_connections: Annotated[
        int, Ge(10), Doc("Connections at a time; one more, and the one that has waited longest is closed.")
    ] = 256
    timeout_seconds: Annotated[
        float, Gt(0), Doc("Longest time for a request to come and its answer to be read, in seconds.")
    ] = 30.0
    trace_url: Annotated[
        str,
        Doc(
            "Link to a trace, with {trace_id}, {service}, {environment} and {model_version} to fill in; empty for no "
            "links."
        ),
    ] = ""
