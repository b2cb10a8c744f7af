"""
Requests that may become probes, read from files or the ledger, and the panel chosen from them as JSON.

An incident becomes a family of the panel: cases of a rollout, joined with the operator's own texts of these requests.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby

from msgspec.structs import asdict, replace
from pydantic_core import from_json

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import request_features
from monitor.difficulty.probes import PanelForecast, ProbeCandidate, reference_failure_probability
from monitor.difficulty.settings import DifficultySettings
from monitor.ingest.file import Translate, file_records
from monitor.ledger.ledger import ProbeResult
from monitor.output.plain import Json, fields_of, plain
from monitor.trace.decode import decode
from monitor.trace.model import PROBES_ENVIRONMENT, InvalidRecord, Request, joining_id
from monitor.trace.settings import Limits

REQUEST_KEYS = ("text", "messages", "tools", "attributes")
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
_SLOT = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _SLOTS.items()))


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
        forecast: The trust that it would buy, replayed on more and more versions.
        probes: The part of a native event that is known before a model answers, with the tier, and with the reference
            version's failure probability (ratio 0 to 1; None without a calibration). A probe that the ledger named has
            no `request`.
    """

    calibration: str | None
    candidates: int
    skipped: Mapping[str, int]
    tiers: Mapping[str, int]
    capabilities: Mapping[str, int]
    forecast: Sequence[PanelForecast]
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
    candidates = [
        PanelRequest(
            ProbeCandidate(replace(request_features(request), item=name), len(traces[name])),
            request,
            from_json(line),
            traces[name],
        )
        for name, (request, line) in found.items()
    ]
    return candidates, +skipped


def chosen_panel(
    requests: Sequence[PanelRequest],
    panel: Sequence[int],
    *,
    calibration: Calibration | None,
    forecasts: Sequence[PanelForecast],
    skipped: Mapping[str, int],
    settings: DifficultySettings,
) -> Panel:
    """The panel: *requests* at the indices *panel*, with what it would buy."""
    probes = [_probe(requests[index], calibration, settings) for index in panel]
    return Panel(
        calibration=None if calibration is None else calibration.calibration_id,
        candidates=len(requests),
        skipped=skipped,
        tiers=Counter(probe["tier"] for probe in probes),
        capabilities=dict(sorted(Counter(probe["capability"] for probe in probes).items())),
        forecast=forecasts,
        probes=probes,
    )


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
    request = {key: line[key] for key in REQUEST_KEYS if key in line} or line.get("request") or {}
    named = {key: line[key] for key in ("request_id", "capability", "trace_id") if line.get(key) is not None}
    named |= {key: str(value) for key, value in named.items() if isinstance(value, int)}
    return json.dumps(_ENVELOPE | named | {"request": request}).encode()


def _name_of(request: Request) -> str | None:
    if not request.text and not request.tools:
        return None
    parts = (request.capability, request.text or "", *(f"{tool.name}\t{tool.parameters}" for tool in request.tools))
    return "probe-" + hashlib.blake2b("\n".join(parts).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _probe(asked: PanelRequest, calibration: Calibration | None, settings: DifficultySettings) -> Json:
    features = asked.candidate.features
    probability = None if calibration is None else reference_failure_probability(features, calibration, settings)
    probe = {
        "environment": PROBES_ENVIRONMENT,
        "request_id": features.item,
        "capability": features.capability,
        "tier": "untiered" if calibration is None else calibration.tag(features).tier.value,
        "failure_probability": probability,
    }
    return probe | told(asked)


def told(asked: PanelRequest) -> Json:
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
            **told(text),
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
        names = (f"{match.lastgroup}{number}" for number in count(1))
        slot = next(name for name in names if name not in slots and f"{{{name}}}" not in text)
        slots[slot] = match[0]
        return f"{{{slot}}}"

    return {"template": _SLOT.sub(filled, text), "slots": slots}
