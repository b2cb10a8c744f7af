"""Requests as aligned lines, one each, and as JSON."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from monitor.difficulty.features import prompt_family
from monitor.difficulty.tiers import Tier
from monitor.output.plain import Json, fields_of
from monitor.service.tail import SeenRequest

_UNKNOWN = "-"
_WIDEST = 32
_OUTCOME_SHOWN = ("success", "failure_class", "source", "evaluation")
_TIER_STYLES = {Tier.HARD: "yellow", Tier.FRONTIER: "magenta", Tier.UNTIERED: "dim"}


class RequestTable:
    """
    Prints the names of its columns, then requests as they come.

    A column grows with what it has to hold, up to 32 cells, and never shrinks.

    Args:
        console: Where to; it knows whether colours are wanted.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths = {"time (UTC)": 19, "service": 12, "version": 16, "capability": 12, "tier": 8, "difficulty": 10}
        self._widths["outcome"] = 18
        names = (name.ljust(width) for name, width in self._widths.items())
        self._print(Text("  ".join((*names, "trace id")), style="dim"))

    def print(self, seen: SeenRequest) -> None:
        """One line; a request on which a verdict came later has a `+` before it."""
        trace, tag = seen.trace, seen.tag
        outcome, outcome_style = _outcome(seen)
        cells = (
            (datetime.fromtimestamp(trace.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S"), ""),
            (trace.service, ""),
            (trace.model_version, ""),
            (trace.request.capability, ""),
            (tag.tier.value, _TIER_STYLES.get(tag.tier, "")),
            (f"{tag.difficulty_logit:+.1f}" if tag.calibration_id else _UNKNOWN, ""),
            (f"{'+' if seen.is_revised else ''}{outcome}", outcome_style),
        )
        line = Text()
        for name, (cell, style) in zip(self._widths, cells, strict=True):
            self._widths[name] = max(self._widths[name], min(_WIDEST, cell_len(cell)))
            cut = cell if cell_len(cell) <= _WIDEST else set_cell_size(cell, _WIDEST - 1) + "…"
            line.append(set_cell_size(cut, self._widths[name]), style).append("  ")
        self._print(line.append(trace.trace_id, "dim"))

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True, highlight=False, no_wrap=True)


_SHOWN = (
    "trace_id", "started_at", "ended_at", "service", "environment", "model_version", "version_by", "requested_model",
    "capability", "request_id", "text_family", "messages", "tools", "tool_calls", "steps", "input_tokens",
    "output_tokens", "cost_usd", "duration_seconds", "conversation", "aborted", "tier", "difficulty_logit",
    "calibration", "outcome", "revised",
)  # fmt: skip
"""Fields of a request in JSON, in order; no other is shown, the request's text least of all."""


def request_json(seen: SeenRequest) -> Json:
    """*seen* as one JSON object; what is not known is null, times are ISO 8601 in UTC."""
    trace, request, tag, outcome = seen.trace, seen.trace.request, seen.tag, seen.outcome
    conversation = None if trace.conversation_id is None else trace.conversation_id.encode()
    fields = fields_of(trace) | fields_of(request) | fields_of(trace.usage)
    fields |= {
        "text_family": request.prompt_family or (prompt_family(request.text) if request.text else None),
        "tools": [tool.name for tool in request.tools],
        "duration_seconds": trace.duration_seconds,
        "conversation": conversation and hashlib.blake2b(conversation, digest_size=8).hexdigest(),
        "tier": tag.tier.value,
        "difficulty_logit": tag.difficulty_logit if tag.calibration_id else None,
        "calibration": tag.calibration_id or None,
        "outcome": outcome and {name: getattr(outcome, name) for name in _OUTCOME_SHOWN},
        "revised": seen.is_revised,
    }
    return {name: fields[name] for name in _SHOWN}


def _outcome(seen: SeenRequest) -> tuple[str, str]:
    """The outcome in words, and their style."""
    if seen.outcome is None:
        return _UNKNOWN, "dim"
    if seen.outcome.success:
        return "success", "green"
    return f"failure {seen.outcome.failure_class or ''}".rstrip(), "bold red"
