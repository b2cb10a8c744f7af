"""The gate over HTTP: whether a progressive delivery may go on with a rollout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitor.ledger.ledger import RolloutRecord
from monitor.rollout.gate import GateRules, ask_gate

_STOPPED = 412


def gate_route(rollouts: Callable[[], Sequence[RolloutRecord]]) -> Route:
    """
    `/api/v1/rollouts/{service}/{candidate}/gate` over the latest rollout of that candidate.

    A GET answers 200 with `pass`, `verdict`, `reason` and `wait_seconds` (for Argo Rollouts' web metrics); a POST
    answers 412 where the gate stops (for Flagger's webhooks). Without such a rollout the status is 404 and `pass` is
    false. Query parameters: `environment`, and `strict`, `require_verdict`, `require_tiers` set to `true`.
    """

    async def gate(request: Request) -> Response:
        wanted = request.path_params["rollout"]
        environment = request.query_params.get("environment", "production")
        found = [
            record
            for record in rollouts()
            if f"{record.rollout.service}/{record.rollout.candidate}" == wanted
            and record.rollout.environment == environment
        ]
        if not found:
            missing = {"pass": False, "verdict": None, "reason": "There is no such rollout.", "wait_seconds": 0}
            return JSONResponse(missing, status_code=404)
        answer = ask_gate(found[-1].verdict, _rules(request))
        body = {
            "pass": answer.is_pass,
            "verdict": answer.verdict.value,
            "reason": answer.reason,
            "wait_seconds": answer.wait_seconds,
        }
        return JSONResponse(body, status_code=_STOPPED if request.method == "POST" and not answer.is_pass else 200)

    # Names may hold slashes, as services of a namespace do.
    return Route("/api/v1/rollouts/{rollout:path}/gate", gate, methods=["GET", "POST"])


def _rules(request: Request) -> GateRules:
    names = ("strict", "require_verdict", "require_tiers")
    return GateRules(**{name: request.query_params.get(name, "").lower() in ("1", "true") for name in names})
