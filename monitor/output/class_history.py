"""The history of a capability class as Markdown: what each rollout did to it, by which failures, with links."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from monitor.ledger.ledger import RolloutRecord
from monitor.output.cases import TraceLinks
from monitor.output.plain import iso_time
from monitor.rollout.cases import Cases, by_signature
from monitor.rollout.wording import markdown, percent, with_bounds


def class_history(capability: str, past: Sequence[tuple[RolloutRecord, Cases]], links: TraceLinks) -> str:
    """The document; *past* are rollouts with their cases of *capability*, the latest first."""
    environment = Environment(
        loader=PackageLoader("monitor.output"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"text": markdown, "percent": percent, "with_bounds": with_bounds, "time": iso_time}
    template = environment.get_template("class_history.md")
    return template.render(capability=capability, past=past, links=links, by_signature=by_signature)
