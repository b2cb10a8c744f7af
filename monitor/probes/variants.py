"""Variants of a case: the same request with other numbers, names and dates, or in other words."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic_core import from_json, to_json

from monitor.output.plain import Json
from monitor.probes.answer import Answer, Unanswered
from monitor.probes.panel import REQUEST_KEYS, PanelRequest, template, told
from monitor.probes.run import Ask
from monitor.trace.model import PROBES_ENVIRONMENT, VARIANT_MARK

Pools = Mapping[tuple[str, str], Sequence[str]]
"""What slots hold, by capability and kind of slot; under no capability, of all of them."""

_FIELD = re.compile(r"\{(\w+)\}")
_NOT_OF_ITSELF = {"schema", "trace_id", *REQUEST_KEYS}


def slot_pools(panel: Iterable[PanelRequest]) -> Pools:
    """What the slots of *panel* hold, whatever the order of its lines."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for case in panel:
        for slot, value in _template(case)[1].items():
            for capability in (case.candidate.features.capability, ""):
                found[capability, _kind(slot)].add(value)
    return {kind: sorted(values) for kind, values in found.items()}


def refills(case: PanelRequest, pools: Pools, *, seed: int) -> Iterator[Json]:
    """
    `text`, `slots` and `expected` of *case*, time and again with its slots filled from other cases.

    The values come from cases of its capability, or of any where these have too few. A value that the case has twice
    is replaced by one other value, and in `expected` as well.
    """
    (text, slots), capability = _template(case), case.candidate.features.capability
    parts = _FIELD.split(text)
    drawing = random.Random(f"{seed} {case.candidate.features.item}")  # noqa: S311  (nothing secret)
    while True:
        filled: dict[str, str] = {}
        for slot, value in slots.items():
            alike = (pools[capability, _kind(slot)], pools["", _kind(slot)])
            drawn = [each for pool in alike for each in drawing.sample(pool, min(len(pool), 2 * len(slots)))]
            free = (each for each in drawn if each not in slots.values() and each not in filled.values())
            filled.setdefault(value, next(free, value))
        now = {slot: filled[value] for slot, value in slots.items()}
        other = "".join(now.get(part, f"{{{part}}}") if at % 2 else part for at, part in enumerate(parts))
        yield {"text": other, "slots": now, "expected": _replaced(case.line.get("expected"), filled)}


def reworded(case: PanelRequest, number: int, *, ask: Ask, seed: int) -> Answer:
    """What a paraphraser makes of *case* as variant *number*; an answer without a `text` is broken."""
    named = {"request_id": case.candidate.features.item, "variant": number, "seed": seed}
    try:
        answer = ask({**case.line, **told(case), **named})
    except Unanswered as later:
        return Answer(broken="later", detail=str(later))
    has_text = answer.broken or isinstance(answer.result.get("text"), str)
    return answer if has_text else Answer(broken="no_text", detail="its answer has no `text`")


def family(case: PanelRequest, answers: Iterable[Json], count: int) -> Iterator[Json]:
    """
    The panel's lines of *case* and of *count* variants at most, named CASE/variant-1 and so on.

    Args:
        case: The case as it was written, which is the first line.
        answers: What a variant asks: `text`, and `slots` and `expected` where they differ from the case.
        count: Variants wanted; a text that is there already is passed over.
    """
    name, asked = case.candidate.features.item, told(case).get("request", {})
    yield {**case.line, "request_id": name}
    kept = {key: value for key, value in case.line.items() if key not in _NOT_OF_ITSELF}
    seen = {asked.get("text")}
    for answer in answers:
        if answer["text"] not in seen and len(seen) <= count:
            yield {
                **kept,
                "environment": PROBES_ENVIRONMENT,
                "request_id": f"{name}{VARIANT_MARK}{len(seen)}",
                "capability": case.candidate.features.capability,
                "request": {**asked, "text": answer["text"]},
                **{key: answer[key] for key in ("slots", "expected") if answer.get(key) is not None},
            }
            seen.add(answer["text"])


def _template(case: PanelRequest) -> tuple[str, Mapping[str, str]]:
    """The template of *case* and what its slots hold: as its line says, else as its text does."""
    line: Mapping[str, Any] = case.line
    if not isinstance(line.get("template"), str) or not isinstance(line.get("slots"), dict):
        line = template((case.request and case.request.text) or "")
    return line["template"], {slot: str(value) for slot, value in line["slots"].items()}


def _kind(slot: str) -> str:
    return slot.rstrip("0123456789")


def _replaced(expected: Any, filled: Mapping[str, str]) -> Any:
    """*expected* with the other values, in its strings and as numbers."""
    if isinstance(expected, dict):
        return {key: _replaced(value, filled) for key, value in expected.items()}
    if isinstance(expected, list):
        return [_replaced(value, filled) for value in expected]
    if isinstance(expected, str) and filled:
        words = "|".join(re.escape(value) for value in sorted(filled, key=len, reverse=True))
        return re.sub(rf"(?<!\w)(?:{words})(?!\w)", lambda found: filled[found[0]], expected)
    with suppress(ValueError):
        return from_json(filled.get(to_json(expected).decode(), ""))
    return expected
