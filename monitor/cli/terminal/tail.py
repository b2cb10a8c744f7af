"""Requests as aligned lines, one each, and as JSON."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from monitor.difficulty.features import prompt_family
from monitor.difficulty.tiers import Tier
from monitor.output.plain import iso_time
from monitor.service.tail import SeenRequest

_UNKNOWN = "-"
_WIDEST = 32
_TIER_STYLES = {Tier.HARD: "yellow", Tier.FRONTIER: "magenta", Tier.UNTIERED: "dim"}


class RequestTable:
    """
    Prints requests as they come; a column grows with what it has to hold, up to 32 cells, and never shrinks.

    Args:
        console: Where to; it knows whether colours are wanted.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths = {"time (UTC)": 19, "service": 12, "version": 16, "capability": 12, "tier": 8, "difficulty": 10}
        self._widths |= {"outcome": 18, "trace id": 0}

    def print_head(self) -> None:
        """The names of the columns."""
        self._print(Text("  ".join(name.ljust(width) for name, width in self._widths.items()), style="dim"))

    def print(self, seen: SeenRequest) -> None:
        """One line; a request on which a verdict came later has a `+` before it."""
        trace, tag = seen.trace, seen.tag
        is_tagged = bool(tag.calibration_id)
        cells = (
            datetime.fromtimestamp(trace.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            trace.service,
            trace.model_version,
            trace.request.capability,
            tag.tier.value,
            f"{tag.difficulty_logit:+.1f}" if is_tagged else _UNKNOWN,
            ("+" if seen.is_revised else "") + _outcome(seen),
            trace.trace_id,
        )
        styles = ("", "", "", "", _TIER_STYLES.get(tag.tier, ""), "", _outcome_style(seen), "dim")
        line = Text()
        for name, cell, style in zip(self._widths, cells, styles, strict=True):
            if name == "trace id":
                line.append(cell, style)
                continue
            self._widths[name] = max(self._widths[name], min(_WIDEST, cell_len(cell)))
            line.append(_fitted(cell, self._widths[name]), style).append("  ")
        self._print(line)

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True, highlight=False, no_wrap=True)


def request_json(seen: SeenRequest) -> dict[str, Any]:
    """*seen* as one JSON object; what is not known is null, times are ISO 8601 in UTC."""
    trace, tag, outcome = seen.trace, seen.tag, seen.outcome
    is_tagged = bool(tag.calibration_id)
    return {
        "trace_id": trace.trace_id,
        "started_at": iso_time(trace.started_at),
        "ended_at": None if trace.ended_at is None else iso_time(trace.ended_at),
        "service": trace.service,
        "environment": trace.environment,
        "model_version": trace.model_version,
        "version_by": trace.version_by.value,
        "requested_model": trace.requested_model,
        "capability": trace.request.capability,
        "request_id": trace.request.request_id,
        "text_family": trace.request.prompt_family
        or (prompt_family(trace.request.text) if trace.request.text else None),
        "messages": trace.request.messages,
        "tools": [tool.name for tool in trace.request.tools],
        "tool_calls": trace.tool_calls,
        "steps": trace.steps,
        "input_tokens": trace.usage.input_tokens,
        "output_tokens": trace.usage.output_tokens,
        "cost_usd": trace.usage.cost_usd,
        "duration_seconds": trace.duration_seconds,
        "conversation": None if trace.conversation_id is None else _short_hash(trace.conversation_id),
        "aborted": trace.aborted,
        "tier": tag.tier.value,
        "difficulty_logit": tag.difficulty_logit if is_tagged else None,
        "calibration": tag.calibration_id or None,
        "outcome": None
        if outcome is None
        else {
            "success": outcome.success,
            "failure_class": outcome.failure_class,
            "source": outcome.source,
            "evaluation": outcome.evaluation,
        },
        "revised": seen.is_revised,
    }


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _outcome(seen: SeenRequest) -> str:
    if seen.outcome is None:
        return _UNKNOWN
    if seen.outcome.success:
        return "success"
    return f"failure {seen.outcome.failure_class}" if seen.outcome.failure_class else "failure"


def _outcome_style(seen: SeenRequest) -> str:
    if seen.outcome is None:
        return "dim"
    return "green" if seen.outcome.success else "bold red"


def _fitted(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
