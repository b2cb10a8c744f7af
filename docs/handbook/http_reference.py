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
    ): "Metrics, in the format that the scraper asks for: Prometheus text, or OpenMetrics with trace ids as exemplars.",
    ("GET", "/-/healthy"): "200 while the process lives.",
    (
        "GET",
        "/-/ready",
    ): "200 when counts are up to date and are being written; 503 with the reason in one sentence otherwise.",
    (
        "POST",
        "/-/reload",
    ): "Reads the config again; 500 with the reason where it cannot be used, and the old one stays.",
    ("GET", "/api/v1/rollouts"): "A list of rollouts, each as `cliffwatch verdict --output json` prints it.",
    (
        "POST",
        "/api/v1/rollouts",
    ): 'Announces a rollout: `{"service": ..., "candidate": ..., "environment": ..., "baseline": ...}`, the last two may be left out; answers with the rollout.',
    (
        "GET",
        "/api/v1/rollouts/{rollout:path}/gate",
    ): "Whether the rollout may go on: `pass`, `verdict`, `reason`, `wait_seconds`; `?strict=true`, `require_verdict=true`, `require_tiers=true`, `environment=NAME`. 404 with `pass` false where there is no such rollout.",
    (
        "POST",
        "/api/v1/rollouts/{rollout:path}/gate",
    ): "The same for webhooks: 412 where the gate stops.",
    (
        "POST",
        "/api/v1/rollouts/{rollout_id}/end",
    ): 'Ends the watch: `{"reason": "rolled_back"}`, or any other reason; answers with the rollout.',
    (
        "GET",
        "/api/v1/rollouts/{rollout_id}/cases",
    ): f"Requests that established versions passed and the candidate fails; `?limit=N` for more or fewer than {DEFAULT_CASES}.",
    (
        "GET",
        "/api/v1/rollouts/{rollout_id}/labels",
    ): f"What people should label next, each with its chance; `?count=N` for more or fewer than {DEFAULT_LABELS}, `budget=N` for what N labels would buy, `seed=N` for another draw.",
}
"""What each route does, by method and path."""

ERRORS = {
    400: "what was sent cannot be used",
    404: "no such rollout",
    415: "the body is not JSON, or does not say so in `Content-Type`",
    500: "the ledger holds what cannot be read",
    503: "the ledger is out of reach; try again",
}

_HEAD = f"""# HTTP

`{PROGRAM} run` listens on `{WebSettings().listen_address}` (`web.listen_address`), for this machine only unless you change it.
TLS and basic auth come from a [web config file](config.md#web.config_file) of the form that Prometheus and its exporters use; `/-/healthy` and `/-/ready` answer without a password, with the status alone.
Whoever reaches the port may announce and end rollouts.

"""


def page() -> str:
    """The page, in Markdown."""
    routes = table(("method", "path", "does"), [(method, code(path), text) for (method, path), text in ROUTES.items()])
    errors = table(("status", "when"), [(str(status), text) for status, text in ERRORS.items()])
    return (
        f"{_HEAD}{routes}\n## Errors\n\n"
        'A request to `/api/v1` that fails is answered with `{"error": "one sentence"}` and a status:\n\n' + errors
    )
