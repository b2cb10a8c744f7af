"""The HTTP interface: metrics, health, the status page and JSON; a pure function of the current snapshot."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from monitor.errors import MonitorError
from monitor.metrics.collect import families_of
from monitor.metrics.exposition import accepts_gzip, choose_format
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.output.rollouts import rollout_json
from monitor.service.rollout_control import RolloutControl
from monitor.web.bodies import BodyResponse, SnapshotBodies
from monitor.web.guard import IS_GUEST
from monitor.web.page.pages import page_routes
from monitor.web.rollout_routes import gate_route, rollout_routes

Reload = Callable[[], str | None]
"""Reloads the config and returns what changed; raises `MonitorError` with one sentence if it is invalid."""

_JSON_HEADERS = {"Content-Type": "application/json"}


def metrics_app(
    snapshots: SnapshotHolder,
    reload: Reload,
    control: RolloutControl | None = None,
    *,
    stall_reason: Callable[[], str] = str,
) -> Starlette:
    """
    The application. Responses are rendered once per snapshot; frequent requests do not wait for a thread.

    Args:
        snapshots: Holds the current snapshot.
        reload: Called by a POST to `/-/reload`.
        control: Announces and ends rollouts and lists their cases; None to serve no such routes.
        stall_reason: Returns one sentence if the process hangs and needs a restart, else an empty string.
    """
    bodies = SnapshotBodies(snapshots)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_format(request.headers.get("accept", ""))
        is_gzipped = accepts_gzip(request.headers.get("accept-encoding", ""))
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        headers |= {"Content-Encoding": "gzip"} if is_gzipped else {}
        body = await bodies.get(encode, lambda snapshot: encode(families_of(snapshot)), is_gzipped=is_gzipped)
        return BodyResponse(body, headers)

    def probe(state: str, problem_of: Callable[[], str]) -> Route:
        async def answer(request: Request) -> Response:
            problem = problem_of()
            reason = f"not {state}" if request.scope.get(IS_GUEST) else problem  # a problem may name hosts
            return PlainTextResponse(f"{reason if problem else state}\n", status_code=503 if problem else 200)

        return Route(f"/-/{state}", answer)

    async def reload_config(_: Request) -> Response:
        try:
            changed = await run_in_threadpool(reload)
        except MonitorError as error:
            return PlainTextResponse(f"{error}\n", status_code=500)
        return PlainTextResponse(f"{changed or 'reloaded'}\n")

    async def rollouts(_: Request) -> Response:
        return BodyResponse(await bodies.get("rollouts", _rollouts), _JSON_HEADERS)

    routes = [
        *page_routes(snapshots, bodies, control),
        Route("/metrics", metrics),
        probe("healthy", stall_reason),
        probe("ready", lambda: snapshots.current.not_ready_reason),
        Route("/-/reload", reload_config, methods=["POST"]),
        Route("/api/v1/rollouts", rollouts, methods=["GET"]),
        gate_route(lambda: snapshots.current.rollouts),
        *([] if control is None else rollout_routes(control)),
    ]
    return Starlette(routes=routes)


def _rollouts(snapshot: Snapshot) -> bytes:
    return json.dumps([rollout_json(record) for record in snapshot.rollouts], allow_nan=False).encode()
