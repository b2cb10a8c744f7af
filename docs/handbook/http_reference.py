"""The reference of the HTTP interface."""

from __future__ import annotations

from docs.handbook.command_reference import PROGRAM
from docs.handbook.tables import code, table
from monitor.web.rollout_routes import DEFAULT_CASES, DEFAULT_LABELS
from monitor.web.settings import WebSettings

ROUTES = {
    ("GET", "/"): "The status page: every rollout with its verdict, and the health of the monitor.",
    ("GET", "/rollouts/{rollout_id}"): "The page of one rollout.",
    ("GET", "/rollouts/{rollout_id}/cases"): "The page of its cases.",
    (
        "GET",
        "/rollouts",
    ): "Leads to the page of the last rollout with that `service`, `environment`, `baseline` and `candidate`, or with `show=cases` to its cases.",
    (
        "GET",
        "/metrics",
    ): "Returns metrics in the format that the scraper requests: Prometheus text, or OpenMetrics with trace ids as exemplars.",
    ("GET", "/-/healthy"): "200 while the process lives.",
    (
        "GET",
        "/-/ready",
    ): "200 while counts are up to date and being written; otherwise 503 with the reason in one sentence.",
    (
        "POST",
        "/-/reload",
    ): "Reads the config again. If it cannot be used, returns 500 with the reason and keeps the old one.",
    ("GET", "/api/v1/rollouts"): "Lists rollouts, each as `cliffwatch verdict --output json` prints it.",
    (
        "POST",
        "/api/v1/rollouts",
    ): 'Announces a rollout: `{"service": ..., "candidate": ..., "environment": ..., "baseline": ...}`; the last two are optional. Returns the rollout.',
    (
        "GET",
        "/api/v1/rollouts/{rollout:path}/gate",
    ): "Says whether the rollout may go on: `pass`, `verdict`, `reason`, `wait_seconds`. Parameters: `?strict=true`, `require_verdict=true`, `require_tiers=true`, `environment=NAME`. 404 with `pass` false if there is no such rollout.",
    (
        "POST",
        "/api/v1/rollouts/{rollout:path}/gate",
    ): "The same for webhooks: 412 if the gate is closed.",
    (
        "POST",
        "/api/v1/rollouts/{rollout_id}/end",
    ): 'Ends the rollout: `{"reason": "rolled_back"}`, or any other reason. Returns the rollout.',
    (
        "GET",
        "/api/v1/rollouts/{rollout_id}/cases",
    ): f"Lists requests that established versions passed and the candidate fails; `?limit=N` for more or fewer than {DEFAULT_CASES}.",
    (
        "GET",
        "/api/v1/rollouts/{rollout_id}/labels",
    ): f"Lists requests that people should label next, each with its probability; `?count=N` for more or fewer than {DEFAULT_LABELS}, `budget=N` for the precision that N labels would give, `seed=N` for another draw.",
}
"""What each route does, by method and path."""

ERRORS = {
    400: "the request is not valid",
    404: "there is no such rollout",
    415: "the body is not JSON, or `Content-Type` does not say so",
    500: "the ledger holds data that cannot be read",
    503: "the ledger cannot be reached; try again",
}

_HEAD = f"""# HTTP

`{PROGRAM} run` listens on `{WebSettings().listen_address}` (`web.listen_address`), which only this machine can reach unless you change it.
TLS and basic auth come from a [web config file](config.md#web.config_file) in the format of Prometheus and its exporters; `/-/healthy` and `/-/ready` answer without a password, but then give only the status.
Anyone who can reach the port can announce and end rollouts.

"""


def page() -> str:
    """The page, in Markdown."""
    routes = table(("method", "path", "does"), [(method, code(path), text) for (method, path), text in ROUTES.items()])
    errors = table(("status", "when"), [(str(status), text) for status, text in ERRORS.items()])
    return (
        f"{_HEAD}{routes}\n## Errors\n\n"
        'If a request to `/api/v1` fails, the response is `{"error": "one sentence"}` with a status:\n\n' + errors
    )
