"""
Requests that may become probes, read from files or the ledger, and the panel chosen from them as JSON.

An incident becomes a family of the panel: cases of a rollout, joined with the operator's own texts of these requests.
So does a case: the same request with other numbers, names and dates, or in other words.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from msgspec.structs import asdict, replace
from pydantic_core import from_json, to_json

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import request_features
from monitor.difficulty.probes import ProbeCandidate, reference_failure_probability
from monitor.difficulty.settings import DifficultySettings
from monitor.ingest.file import Translate, file_records
from monitor.ledger.ledger import ProbeResult
from monitor.output.plain import Json, fields_of, plain
from monitor.trace.decode import decode
from monitor.trace.model import PROBES_ENVIRONMENT, VARIANT_MARK, InvalidRecord, Request, hash_of, joining_id
from monitor.trace.settings import Limits

_REQUEST_KEYS = ("text", "messages", "tools", "attributes")
_ENVELOPE = {
    "schema": "cliffwatch.trace/v1",
    "trace_id": "of-no-trace",
    "service": "probes",
    "model_version": "none",
    "started_at": "2000-01-01T00:00:00Z",
}
"""What a line that is only a request lacks to be read like any other event."""

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_SLOTS = {
    "date": r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b"
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)? (?:{_MONTHS})\b(?:,? \d{{4}}\b)?"
    rf"|\b(?:{_MONTHS}) \d{{1,2}}(?:st|nd|rd|th)?\b(?:,? \d{{4}}\b)?",
    "time": r"\b\d{1,2}:\d\d(?::\d\d)?\b",
    "number": r"\b\d+(?:[.,]\d+)*\b",
    # A capital that no sentence begins with, and no acronym.
    "name": rf"(?<=[a-zß-ÿ,;] )(?!(?:{_MONTHS}|{_DAYS})\b)[A-ZÀ-Þ][a-zß-ÿ]\w*(?: [A-ZÀ-Þ]\w+)*",
}
_FIELD = re.compile(r"\{(\w+)\}")
_NOT_OF_ITSELF = {"schema", "trace_id", *_REQUEST_KEYS}
_SLOT = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _SLOTS.items()))


Pools = Mapping[tuple[str, str], Sequence[str]]
"""What slots hold, by capability and kind of slot; under no capability, of all of them."""


@dataclass(frozen=True, slots=True)
class PanelRequest:
    """
    A candidate, and what was asked, where a file says it (the ledger keeps no text).

    Attributes:
        line: The line of the file as JSON, with whatever else it says.
        trace_ids: Ids of its traces, one for each line that has the same request.
    """

    candidate: ProbeCandidate
    request: Request | None = None
    line: Json = field(default_factory=dict)
    trace_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """
    A probe panel.

    Attributes:
        calibration: Id of the calibration that says how hard the requests are; None without one.
        candidates: Requests that it was chosen from.
        skipped: Lines of a file that were skipped, by reason.
        tiers: Probes by tier.
        capabilities: Probes by capability.
        known_share: Share of the traffic (ratio 0 to 1) whose difficulty is known once the panel was replayed: by name,
            by family, or already.
        versions_needed: On how many more versions to replay it for `tiers`, and for the `hard_tier_rate`. How well the
            difficulty orders requests, the third gate, cannot be told before: `cliffwatch calibrate` measures it.
        probes: The part of a native event that is known before a model answers, with the tier, and with the reference
            version's failure probability (ratio 0 to 1; None without a calibration). A probe that the ledger named has
            no `request`.
    """

    calibration: str | None
    candidates: int
    skipped: Mapping[str, int]
    tiers: Mapping[str, int]
    capabilities: Mapping[str, int]
    known_share: float
    versions_needed: Mapping[str, int]
    probes: Sequence[Json]


@dataclass(frozen=True, slots=True)
class ProbeHistory:
    """One probe, and how each version did on it, earliest version first."""

    request_id: str
    capability: str
    results: Sequence[ProbeResult]

    @property
    def family(self) -> str:
        """The incident that it came from: what its name has before a slash; empty without one."""
        return self.request_id.rpartition("/")[0]


def read_requests(
    files: Sequence[str], limits: Limits, *, translate: Translate | None = None
) -> tuple[Sequence[PanelRequest], Mapping[str, int]]:
    """
    Each request of *files* once, as its first line says, and how many lines were skipped by reason.

    A line is a native event or only its request: `request_id`, `capability`, and `text`, `tools`, `attributes` either
    by themselves or under `request`. A request without a name is named by its text and tools.

    Raises:
        MonitorError: a file cannot be read.
    """
    found: dict[str, tuple[Request, bytes]] = {}
    traces: dict[str, list[str]] = defaultdict(list)
    skipped: Counter[str] = Counter()
    for record in file_records(files, max_record_bytes=limits.max_record_bytes, translate=translate):
        try:
            found_traces = decode(_as_event(record.value), limits).traces
        except InvalidRecord as invalid:
            skipped[invalid.reason.value] += 1
            continue
        for trace in found_traces:
            request = trace.request
            name = request.request_id or _name_of(request)
            if name is None:
                skipped["unnamed"] += 1
                continue
            first, _ = found.setdefault(name, (request, record.value or b""))
            skipped["same_id_other_text"] += first.text != request.text
            traces[name].append(trace.trace_id)
    requests = []
    for name, (request, line) in found.items():
        candidate = ProbeCandidate(replace(request_features(request), item=name), len(traces[name]))
        requests.append(PanelRequest(candidate, request, from_json(line), traces[name]))
    return requests, +skipped


def chosen_panel(
    requests: Sequence[PanelRequest],
    panel: Sequence[int],
    *,
    calibration: Calibration | None,
    skipped: Mapping[str, int],
    settings: DifficultySettings,
) -> Panel:
    """The panel: *requests* at the indices *panel*, with the trust that replays of it buy."""
    probes = [_probe(requests[index], calibration, settings) for index in panel]
    learnt = 0 if calibration is None else calibration.trust.versions
    return Panel(
        calibration=None if calibration is None else calibration.calibration_id,
        candidates=len(requests),
        skipped=skipped,
        tiers=Counter(probe["tier"] for probe in probes),
        capabilities=dict(sorted(Counter(probe["capability"] for probe in probes).items())),
        known_share=_known_share([each.candidate for each in requests], panel, calibration),
        versions_needed={
            "tiers": max(settings.min_versions - learnt, 0),
            "hard_tier_rate": max(settings.min_versions_hard_rate - learnt, 0),
        },
        probes=probes,
    )


def _known_share(candidates: Sequence[ProbeCandidate], panel: Sequence[int], calibration: Calibration | None) -> float:
    chosen = [candidates[index].features for index in panel]
    names = {features.item for features in chosen} | {features.prompt_family for features in chosen} - {None}
    known = sum(
        each.requests
        for each in candidates
        if names & {each.features.item, each.features.prompt_family}
        or (calibration is not None and calibration.difficulty.estimate(each.features).is_known)
    )
    return known / sum(each.requests for each in candidates)


def probe_histories(results: Iterable[ProbeResult]) -> Sequence[ProbeHistory]:
    """*results*, which come by probe, each probe with its history."""
    by_probe = groupby(results, key=lambda result: (result.item, result.capability))
    return [ProbeHistory(item, capability, list(history)) for (item, capability), history in by_probe]


@plain.register
def _result(result: ProbeResult) -> Json:
    return {name: value for name, value in fields_of(result).items() if name not in {"item", "capability"}}


def _as_event(value: bytes | None) -> bytes | None:
    """*value* itself, or as an event where it is only a request."""
    try:
        line = from_json(value or b"")
    except ValueError:
        return value
    if not isinstance(line, dict) or "schema" in line or "resourceSpans" in line:
        return value
    request = {key: line[key] for key in _REQUEST_KEYS if key in line} or line.get("request") or {}
    named = {key: line[key] for key in ("request_id", "capability", "trace_id") if line.get(key) is not None}
    named |= {key: str(value) for key, value in named.items() if isinstance(value, int)}
    return json.dumps(_ENVELOPE | named | {"request": request}).encode()


def _name_of(request: Request) -> str | None:
    if not request.text and not request.tools:
        return None
    parts = (request.capability, request.text or "", *(f"{tool.name}\t{tool.parameters}" for tool in request.tools))
    return "probe-" + hash_of("\n".join(parts), size=6)


def _probe(asked: PanelRequest, calibration: Calibration | None, settings: DifficultySettings) -> Json:
    features = asked.candidate.features
    probability = None if calibration is None else reference_failure_probability(features, calibration, settings)
    return {
        "environment": PROBES_ENVIRONMENT,
        "request_id": features.item,
        "capability": features.capability,
        "tier": "untiered" if calibration is None else calibration.tag(features).tier.value,
        "failure_probability": probability,
        **as_asked(asked),
    }


def as_asked(asked: PanelRequest) -> Json:
    """`request` and, where a line has it, `expected`, for the user's own grader; empty where no file says it."""
    if asked.request is None:
        return {}
    expected = {"expected": asked.line["expected"]} if "expected" in asked.line else {}
    return {"request": request_json(asked.request), **expected}


def request_json(request: Request) -> Json:
    """*request* as the event contract writes it."""
    shown = {
        "text": request.text,
        "messages": request.messages,
        "tools": [asdict(tool) | {"parameters": json.loads(tool.parameters or "{}")} for tool in request.tools],
        "attributes": dict(request.attributes),
    }
    return {name: value for name, value in shown.items() if value not in (None, [], {})}


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
        yield {
            "environment": PROBES_ENVIRONMENT,
            "request_id": f"{incident}/{name}",
            "capability": case["capability"],
            **as_asked(text),
            **template(text.request.text or ""),
        }


def template(text: str) -> Mapping[str, object]:
    """
    *text* with its dates, times, numbers and names as slots, and what they held.

    >>> template("Refund order 4711 to Ada Lovelace by 2026-11-05.")["template"]
    'Refund order {number1} to {name1} by {date1}.'
    """
    slots: dict[str, str] = {}

    def filled(match: re.Match[str]) -> str:
        number = 1
        while (slot := f"{match.lastgroup}{number}") in slots or f"{{{slot}}}" in text:
            number += 1
        slots[slot] = match[0]
        return f"{{{slot}}}"

    return {"template": _SLOT.sub(filled, text), "slots": slots}


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


def family(case: PanelRequest, answers: Iterable[Json], count: int) -> Iterator[Json]:
    """
    The panel's lines of *case* and of *count* variants at most, named CASE/variant-1 and so on.

    Args:
        case: The case as it was written, which is the first line.
        answers: What a variant asks: `text`, and `slots` and `expected` where they differ from the case.
        count: Variants wanted; a text that is there already is passed over.
    """
    name, asked = case.candidate.features.item, as_asked(case).get("request", {})
    yield {**case.line, "request_id": name}
    kept = {key: value for key, value in case.line.items() if key not in _NOT_OF_ITSELF}
    seen = {asked.get("text")}
    for answer in answers:
        if answer["text"] not in seen:
            yield {
                **kept,
                "environment": PROBES_ENVIRONMENT,
                "request_id": f"{name}{VARIANT_MARK}{len(seen)}",
                "capability": case.candidate.features.capability,
                "request": {**asked, "text": answer["text"]},
                **{key: answer[key] for key in ("slots", "expected") if answer.get(key) is not None},
            }
            seen.add(answer["text"])
        if len(seen) > count:
            return


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
