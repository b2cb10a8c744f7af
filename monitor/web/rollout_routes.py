"""HTTP routes of rollouts: announce one, end one, list its cases and labels, and ask the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitor.errors import MonitorError, RolloutUnknown, UsageError
from monitor.ledger.ledger import RolloutRecord
from monitor.output.cases import cases_json, labels_json
from monitor.output.plain import fields_of
from monitor.output.rollouts import rollout_json
from monitor.rollout.gate import GateRules, ask_gate
from monitor.rollout.rollout_request import RolloutRequest
from monitor.service.rollout_control import RolloutControl

_STOPPED = 412
_RULES = ("strict", "require_verdict", "require_tiers")
_SWITCH = {"true": True, "1": True, "false": False, "0": False, "": False}
DEFAULT_CASES, DEFAULT_LABELS = 100, 50
_MOST_DIGITS = 9

_MOST_BODY_BYTES = 16 * 1024
_T = TypeVar("_T")


class _End(BaseModel, extra="forbid"):
    reason: str


def rollout_routes(control: RolloutControl) -> Sequence[Route]:
    """The routes; each responds in JSON, an error as `{"error": "one sentence"}`."""

    def route(path: str, ask: Callable[[Request, bytes], object], method: str = "GET") -> Route:
        async def answer(request: Request) -> Response:
            body = await _body(request)
            try:
                return JSONResponse(await run_in_threadpool(ask, request, body))
            except MonitorError as error:
                return JSONResponse({"error": str(error)}, status_code=_status(error))

        return Route(f"/api/v1/rollouts{path}", answer, methods=[method])

    def end(request: Request, body: bytes) -> object:
        return rollout_json(control.end(request.path_params["rollout_id"], reason=_parsed(_End, body).reason))

    def cases(request: Request, _: bytes) -> object:
        limit = _number(request, "limit", DEFAULT_CASES)
        return cases_json(*control.cases(request.path_params["rollout_id"], limit=limit), control.links)

    def labels(request: Request, _: bytes) -> object:
        count = _number(request, "count", DEFAULT_LABELS)
        budget, seed = _number(request, "budget", count), _number(request, "seed", 1)
        plan = control.next_labels(request.path_params["rollout_id"], count=count, budget=budget, seed=seed)
        return labels_json(*plan, control.links)

    return [
        route("/{rollout_id}/labels", labels),
        route("", lambda _, body: rollout_json(control.start(_parsed(RolloutRequest, body))), "POST"),
        route("/{rollout_id}/end", end, "POST"),
        route("/{rollout_id}/cases", cases),
    ]


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or len(text) > _MOST_DIGITS or not int(text):
        raise UsageError(f"{name} is a number from 1 on, for example ?{name}=20.")
    return int(text)


class _NoJson(UsageError):
    """The body is not JSON. A browser sends JSON to another site only after asking for permission (CORS)."""


async def _body(request: Request) -> bytes:
    """The body, cut off one byte above the limit."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return b""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY_BYTES:
            break
    return body[: _MOST_BODY_BYTES + 1]


def _parsed(kind: type[_T], body: bytes) -> _T:
    if not body:
        raise _NoJson("Send a JSON object with Content-Type: application/json.")
    if len(body) > _MOST_BODY_BYTES:
        raise UsageError(f"The body has more than {_MOST_BODY_BYTES} bytes.")
    try:
        return TypeAdapter(kind).validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise UsageError(f"{where}: {first['msg']}." if where else f"{first['msg']}.") from None


_STATUS: Mapping[type[MonitorError], int] = {RolloutUnknown: 404, _NoJson: 415, UsageError: 400}


def _status(error: MonitorError) -> int:
    known = (status for kind, status in _STATUS.items() if isinstance(error, kind))
    return next(known, 503 if error.retriable else 500)


def gate_route(rollouts: Callable[[], Sequence[RolloutRecord]]) -> Route:
    """
    `/api/v1/rollouts/{service}/{candidate}/gate` over the latest rollout of that candidate.

    A GET answers 200 with `pass`, `verdict`, `reason` and `wait_seconds` (for Argo Rollouts' web metrics); a POST
    answers 412 where the gate stops (for Flagger's webhooks). Without such a rollout the status is 404 and `pass` is
    false. Query parameters: `environment`, and `strict`, `require_verdict`, `require_tiers` set to `true`; any other
    is refused with 400, and so is one that comes twice: a gate whose rule is misspelt or overruled would stand open.
    """

    async def gate(request: Request) -> Response:
        given = Counter(name for name, _ in request.query_params.multi_items())
        asked = {name: value.lower() for name, value in request.query_params.items() if name != "environment"}
        unknown = [f"{name}={value}" for name, value in asked.items() if name not in _RULES or value not in _SWITCH]
        unknown += [f"a second {name}" for name, times in given.items() if times > 1]
        if unknown:
            rules = ", ".join(f"{name}=true" for name in _RULES)
            problem = f"The gate does not know {', '.join(unknown)}; it knows environment=NAME, {rules}."
            return JSONResponse({"pass": False, "verdict": None, "reason": problem, "wait_seconds": 0}, status_code=400)
        latest = {(f"{r.rollout.service}/{r.rollout.candidate}", r.rollout.environment): r for r in rollouts()}
        record = latest.get((request.path_params["rollout"], request.query_params.get("environment", "production")))
        if record is None:
            missing = {"pass": False, "verdict": None, "reason": "There is no such rollout.", "wait_seconds": 0}
            return JSONResponse(missing, status_code=404)
        answer = ask_gate(record.verdict, GateRules(**{name: _SWITCH[value] for name, value in asked.items()}))
        body = fields_of(answer)
        status = _STOPPED if request.method == "POST" and not answer.is_pass else 200
        return JSONResponse({"pass": body.pop("is_pass"), **body}, status_code=status)

    # Names may hold slashes, as services of a namespace do.
    return Route("/api/v1/rollouts/{rollout:path}/gate", gate, methods=["GET", "POST"])
