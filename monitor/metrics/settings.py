"""Where the metrics and the status page are served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import MinLen
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
    trace_url: Annotated[
        str,
        Doc(
            "Link to a trace, with {trace_id}, {service}, {environment} and {model_version} to fill in; empty for no "
            "links."
        ),
    ] = ""
