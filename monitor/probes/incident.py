"""An incident as a family of the panel: cases of a rollout, joined with the operator's own texts of these requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from monitor.output.plain import Json
from monitor.probes.panel import PanelRequest, request_json
from monitor.trace.model import PROBES_ENVIRONMENT, joining_id

_SLOTS = {
    "date": r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b",
    "number": r"\b\d+(?:[.,]\d+)*\b",
    "name": r"(?<=[a-z,;] )[A-Z]\w+(?: [A-Z]\w+)*",  # a capital that no sentence begins with
}
_SLOT = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _SLOTS.items()))


def incident_family(incident: str, cases: Iterable[Json], texts: Sequence[PanelRequest]) -> Iterator[Json]:
    """
    A panel's line for each of *cases* whose request or trace is among *texts*, named INCIDENT/CASE.

    Each has its text as it was and as a template, whose slots a person, or a program, can fill otherwise.
    """
    known = {name: text for text in texts for name in (text.candidate.features.item, *map(joining_id, text.trace_ids))}
    for case in cases:
        name = case.get("request_id") or case["trace_id"]
        text = known.get(name) or known.get(joining_id(case["trace_id"]))
        if text is None or text.request is None:
            continue
        expected = {"expected": text.line["expected"]} if "expected" in text.line else {}
        yield {
            "environment": PROBES_ENVIRONMENT,
            "request_id": f"{incident}/{name}",
            "capability": case["capability"],
            "request": request_json(text.request),
            **expected,
            **template(text.request.text or ""),
        }


def template(text: str) -> Mapping[str, object]:
    """
    *text* with its dates, numbers and names as slots, and what they held.

    >>> template("Refund order 4711 to Ada Lovelace by 2026-11-05.")["template"]
    'Refund order {number1} to {name1} by {date1}.'
    """
    slots: dict[str, str] = {}

    def filled(match: re.Match[str]) -> str:
        kind = str(match.lastgroup)
        slot = f"{kind}{1 + sum(name.startswith(kind) for name in slots)}"
        slots[slot] = match[0]
        return f"{{{slot}}}"

    return {"template": _SLOT.sub(filled, text), "slots": slots}
