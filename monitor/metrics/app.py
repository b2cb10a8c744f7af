"""The HTTP interface: metrics, health, the status page and JSON; a pure function of the current snapshot."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from monitor.errors import MonitorError
from monitor.metrics.collector import metrics_registry
from monitor.metrics.exposition import Encoder, choose_format
from monitor.metrics.page.status import render_status
from monitor.metrics.report import rollout_json
from monitor.metrics.rollout_routes import RolloutSteering, rollout_routes
from monitor.metrics.snapshot import Snapshot, SnapshotHolder

Reload = Callable[[], None]
"""Reads the config again; raises `MonitorError` with one sentence where it cannot be used."""

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def metrics_app(snapshots: SnapshotHolder, reload: Reload, steering: RolloutSteering | None = None) -> Starlette:
    """
    The application; its endpoints run in worker threads, so a slow scrape delays nobody.

    Args:
        snapshots: What is shown.
        reload: What a POST to `/-/reload` calls.
        steering: What announces and ends rollouts and tells their cases; None where nobody may.
    """
    scrapes = _Scrapes(snapshots)

    def metrics(request: Request) -> Response:
        body, content_type = scrapes.answer(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

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
            Route("/api/v1/rollouts", rollouts, methods=["GET"]),
            *([] if steering is None else rollout_routes(steering)),
        ]
    )


class _Scrapes:
    """Answers to scrapes; each snapshot is encoded once per format, however many scrapers there are."""

    def __init__(self, snapshots: SnapshotHolder) -> None:
        self._snapshots = snapshots
        self._registry = metrics_registry(snapshots)
        self._lock = Lock()
        self._encoded: dict[Encoder, tuple[Snapshot, bytes]] = {}

    def answer(self, accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_format(accept)
        with self._lock:
            snapshot = self._snapshots.current
            known = self._encoded.get(encode)
            if known is None or known[0] is not snapshot:
                known = self._encoded[encode] = snapshot, encode(self._registry.collect())
        return known[1], content_type
