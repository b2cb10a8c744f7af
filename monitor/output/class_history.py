"""The history of a capability class as Markdown: what each rollout did to it, by which failures, with links."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.ledger.ledger import RolloutRecord
from monitor.output.cases import TraceLinks
from monitor.output.plain import iso_time
from monitor.output.templating import templates_of
from monitor.rollout.cases import Cases, by_signature


def class_history(capability: str, past: Sequence[tuple[RolloutRecord, Cases]], links: TraceLinks) -> str:
    """The document; *past* are rollouts with their cases of *capability*, the latest first."""
    environment = templates_of("monitor.output", lstrip_blocks=True)
    environment.filters["time"] = iso_time
    template = environment.get_template("class_history.md")
    return template.render(capability=capability, past=past, links=links, by_signature=by_signature)
