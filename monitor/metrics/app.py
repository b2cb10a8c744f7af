"""The HTTP interface: metrics, health, the status page and JSON; a pure function of the current snapshot."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from monitor.errors import MonitorError
from monitor.metrics.collector import metrics_registry
from monitor.metrics.page.status import render_status
from monitor.metrics.report import rollout_json
from monitor.metrics.snapshot import SnapshotHolder

Reload = Callable[[], None]
"""Reads the config again; raises `MonitorError` with one sentence where it cannot be used."""

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def metrics_app(snapshots: SnapshotHolder, reload: Reload) -> Starlette:
    """
    The application; its endpoints run in worker threads, so a slow scrape delays nobody.

    Args:
        snapshots: What is shown.
        reload: What a POST to `/-/reload` calls.
    """
    registry = metrics_registry(snapshots)

    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    def healthy(_: Request) -> Response:
        return PlainTextResponse("healthy\n")

    def ready(_: Request) -> Response:
        snapshot = snapshots.current
        if snapshot.is_ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse(f"{snapshot.not_ready_reason}\n", status_code=503)

    def reload_config(_: Request) -> Response:
        try:
            reload()
        except MonitorError as error:
            return PlainTextResponse(f"{error}\n", status_code=500)
        return PlainTextResponse("reloaded\n")

    def rollouts(_: Request) -> Response:
        return JSONResponse([rollout_json(record) for record in snapshots.current.rollouts])

    def status(_: Request) -> Response:
        return HTMLResponse(render_status(snapshots.current), headers=_PAGE_HEADERS)

    return Starlette(
        routes=[
            Route("/", status),
            Route("/metrics", metrics),
            Route("/-/healthy", healthy),
            Route("/-/ready", ready),
            Route("/-/reload", reload_config, methods=["POST"]),
            Route("/api/v1/rollouts", rollouts),
        ]
    )
