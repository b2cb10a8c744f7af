"""
Reads candidate requests from files or the ledger, and writes the panel chosen from them as JSON.

A family of probes is made from an incident (cases of a rollout, with the texts from the operator's own files) or from
a case (the same request with other numbers, names and dates, or in other words).
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
"""Fields that turn a line with only a request into a complete event."""

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_SLOTS = {
    "date": r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b"
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)? (?:{_MONTHS})\b(?:,? \d{{4}}\b)?"
    rf"|\b(?:{_MONTHS}) \d{{1,2}}(?:st|nd|rd|th)?\b(?:,? \d{{4}}\b)?",
    "time": r"\b\d{1,2}:\d\d(?::\d\d)?\b",
    "number": r"\b\d+(?:[.,]\d+)*\b",
    # A capitalised word within a sentence that is not an acronym.
    "name": rf"(?<=[a-zß-ÿ,;] )(?!(?:{_MONTHS}|{_DAYS})\b)[A-ZÀ-Þ][a-zß-ÿ]\w*(?: [A-ZÀ-Þ]\w+)*",
}
_FIELD = re.compile(r"\{(\w+)\}")
_NOT_COPIED = {"schema", "trace_id", *_REQUEST_KEYS}  # fields of a case that its variants do not take over
_SLOT = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _SLOTS.items()))


Pools = Mapping[tuple[str, str], Sequence[str]]
"""Values for slots, by capability and kind of slot; the empty capability has those of all."""


@dataclass(frozen=True, slots=True)
class PanelRequest:
    """
    A candidate for a probe.

    Attributes:
        request: The request itself; None if it comes from the ledger, which stores no texts.
        line: The line of the file as JSON, with all of its fields.
        trace_ids: IDs of its traces, one for each line with the same request.
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
        calibration: ID of the calibration that gives the difficulty of the requests, or None.
        candidates: Number of requests that it was chosen from.
        skipped: Lines of a file that were skipped, by reason.
        tiers: Probes by tier.
        capabilities: Probes by capability.
        known_share: Share of the traffic (ratio 0 to 1) whose difficulty will be known after the panel is replayed: by
            item, by prompt family, or already.
        versions_needed: Number of further versions to replay it on, for `tiers` and for the `hard_tier_rate`. How well
            difficulty orders requests, the third gate, is only measured by `cliffwatch calibrate`.
        probes: Each probe as a native event without an answer, with its tier and the reference version's failure
            probability (ratio 0 to 1; None without a calibration). A probe from the ledger has no `request`.
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
    """One probe with the results of each version, earliest version first."""

    request_id: str
    capability: str
    results: Sequence[ProbeResult]

    @property
    def family(self) -> str:
        """The incident that it came from: the part of its name before the last slash; empty without a slash."""
        return self.request_id.rpartition("/")[0]


def read_requests(
    files: Sequence[str], limits: Limits, *, translate: Translate | None = None
) -> tuple[Sequence[PanelRequest], Mapping[str, int]]:
    """
    Read each request of *files* once (its first line counts), and count skipped lines by reason.

    A line is a native event or only its request: `request_id`, `capability`, and `text`, `tools`, `attributes` at the
    top level or under `request`. A request without `request_id` gets a name from a hash of its text and tools.

    Raises:
        MonitorError: a file cannot be read.
    """
    first_lines: dict[str, tuple[Request, bytes]] = {}
    traces: dict[str, list[str]] = defaultdict(list)
    skipped: Counter[str] = Counter()
    for record in file_records(files, max_record_bytes=limits.max_record_bytes, translate=translate):
        try:
            decoded = decode(_as_event(record.value), limits)
        except InvalidRecord as invalid:
            skipped[invalid.reason.value] += 1
            continue
        for trace in decoded.traces:
            request = trace.request
            name = request.request_id or _name_of(request)
            if name is None:
                skipped["unnamed"] += 1
                continue
            first, _ = first_lines.setdefault(name, (request, record.value or b""))
            skipped["same_id_other_text"] += first.text != request.text
            traces[name].append(trace.trace_id)
    requests = []
    for name, (request, line) in first_lines.items():
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
    """The panel of the *requests* at the indices *panel*."""
    probes = [_probe(requests[index], calibration, settings) for index in panel]
    learnt = 0 if calibration is None else calibration.trust.versions
    return Panel(
        calibration=None if calibration is None else calibration.calibration_id,
        candidates=len(requests),
        skipped=skipped,
        tiers=Counter(probe["tier"] for probe in probes),
        capabilities=dict(sorted(Counter(probe["capability"] for probe in probes).items())),
        known_share=_known_share([request.candidate for request in requests], panel, calibration),
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
        candidate.requests
        for candidate in candidates
        if names & {candidate.features.item, candidate.features.prompt_family}
        or (calibration is not None and calibration.difficulty.estimate(candidate.features).is_known)
    )
    return known / sum(candidate.requests for candidate in candidates)


def probe_histories(results: Iterable[ProbeResult]) -> Sequence[ProbeHistory]:
    """Group *results*, which must be sorted by probe, into the history of each probe."""
    by_probe = groupby(results, key=lambda result: (result.item, result.capability))
    return [ProbeHistory(item, capability, list(history)) for (item, capability), history in by_probe]


@plain.register
def _result(result: ProbeResult) -> Json:
    return {name: value for name, value in fields_of(result).items() if name not in {"item", "capability"}}


def _as_event(value: bytes | None) -> bytes | None:
    """Complete *value* to an event if it is only a request."""
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


def _probe(request: PanelRequest, calibration: Calibration | None, settings: DifficultySettings) -> Json:
    features = request.candidate.features
    probability = None if calibration is None else reference_failure_probability(features, calibration, settings)
    return {
        "environment": PROBES_ENVIRONMENT,
        "request_id": features.item,
        "capability": features.capability,
        "tier": "untiered" if calibration is None else calibration.tag(features).tier.value,
        "failure_probability": probability,
        **as_asked(request),
    }


def as_asked(asked: PanelRequest) -> Json:
    """`request`, and `expected` for the user's grader if the line has it; empty for a request from the ledger."""
    if asked.request is None:
        return {}
    expected = {"expected": asked.line["expected"]} if "expected" in asked.line else {}
    return {"request": request_json(asked.request), **expected}


def request_json(request: Request) -> Json:
    """*request* in the JSON of the event contract."""
    fields = {
        "text": request.text,
        "messages": request.messages,
        "tools": [asdict(tool) | {"parameters": json.loads(tool.parameters or "{}")} for tool in request.tools],
        "attributes": dict(request.attributes),
    }
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def incident_family(incident: str, cases: Iterable[Json], texts: Sequence[PanelRequest]) -> Iterator[Json]:
    """
    A panel line, named INCIDENT/CASE, for each of *cases* whose request or trace is among *texts*.

    Each line has its text, and a template of it with slots that a person or a program can fill differently.
    """
    by_id = {name: text for text in texts for name in (text.candidate.features.item, *map(joining_id, text.trace_ids))}
    for case in cases:
        name = case.get("request_id") or case["trace_id"]
        text = by_id.get(name) or by_id.get(joining_id(case["trace_id"]))
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
    A template of *text* with slots for its dates, times, numbers and names, and the values of the slots.

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
    """All values of the slots of *panel*; the order of its lines does not matter."""
    pools: dict[tuple[str, str], set[str]] = defaultdict(set)
    for case in panel:
        for slot, value in _template(case)[1].items():
            for capability in (case.candidate.features.capability, ""):
                pools[capability, _kind(slot)].add(value)
    return {kind: sorted(values) for kind, values in pools.items()}


def refills(case: PanelRequest, pools: Pools, *, seed: int) -> Iterator[Json]:
    """
    Endless variants of *case* (`text`, `slots` and `expected`), with its slots filled from other cases.

    The values come from cases of its capability, or of any capability if these have too few. All occurrences of a value
    are replaced by the same new value, in `expected` too.
    """
    (text, slots), capability = _template(case), case.candidate.features.capability
    parts = _FIELD.split(text)
    drawing = random.Random(f"{seed} {case.candidate.features.item}")  # noqa: S311  (nothing secret)
    while True:
        filled: dict[str, str] = {}
        for slot, value in slots.items():
            sources = (pools[capability, _kind(slot)], pools["", _kind(slot)])
            drawn = [new for pool in sources for new in drawing.sample(pool, min(len(pool), 2 * len(slots)))]
            unused = (new for new in drawn if new not in slots.values() and new not in filled.values())
            filled.setdefault(value, next(unused, value))
        refilled = {slot: filled[value] for slot, value in slots.items()}
        variant = "".join(refilled.get(part, f"{{{part}}}") if at % 2 else part for at, part in enumerate(parts))
        yield {"text": variant, "slots": refilled, "expected": _replaced(case.line.get("expected"), filled)}


def family(case: PanelRequest, answers: Iterable[Json], count: int) -> Iterator[Json]:
    """
    The panel lines of *case* and of at most *count* variants, named CASE/variant-1 and so on.

    Args:
        case: The original case, which gives the first line.
        answers: Variants: `text`, and `slots` and `expected` if they differ from the case.
        count: Most variants; duplicate texts are skipped.
    """
    name, asked = case.candidate.features.item, as_asked(case).get("request", {})
    yield {**case.line, "request_id": name}
    copied = {key: value for key, value in case.line.items() if key not in _NOT_COPIED}
    seen = {asked.get("text")}
    for answer in answers:
        if answer["text"] not in seen:
            yield {
                **copied,
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
    """The template of *case* and the values of its slots: from its line, else made from its text."""
    line: Mapping[str, Any] = case.line
    if not isinstance(line.get("template"), str) or not isinstance(line.get("slots"), dict):
        line = template((case.request and case.request.text) or "")
    return line["template"], {slot: str(value) for slot, value in line["slots"].items()}


def _kind(slot: str) -> str:
    return slot.rstrip("0123456789")


def _replaced(expected: Any, filled: Mapping[str, str]) -> Any:
    """Replace values in *expected*, in strings and as numbers."""
    if isinstance(expected, dict):
        return {key: _replaced(value, filled) for key, value in expected.items()}
    if isinstance(expected, list):
        return [_replaced(value, filled) for value in expected]
    if isinstance(expected, str) and filled:
        words = "|".join(re.escape(value) for value in sorted(filled, key=len, reverse=True))
        return re.sub(rf"(?<!\w)(?:{words})(?!\w)", lambda match: filled[match[0]], expected)
    with suppress(ValueError):
        return from_json(filled.get(to_json(expected).decode(), ""))
    return expected
