"""Real outcomes of public model versions on public requests, as matrices."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.difficulty.features import RequestFeatures, request_features
from monitor.trace.model import Request, Tool

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_LARGEST_FAILURE_RATE = 0.60


@dataclass(frozen=True, slots=True)
class Outcomes:
    """
    Outcomes of every version on every request.

    Attributes:
        versions: In release order.
        requests: Each as it was recorded: `request_id`, `capability`, `text`, `tools` and numeric `features`.
        features: One per request.
        failed: Shape (versions, requests).
        left_out: Versions that fail more than 60 % of the requests by output format.
    """

    name: str
    versions: list[str]
    requests: Sequence[Mapping[str, Any]]
    features: list[RequestFeatures]
    failed: NDArray[np.bool_]
    left_out: list[str]


def load(name: str) -> Outcomes:
    """Outcomes of the set *name* (`bfcl` or `swebench_verified`)."""
    folder = DATA / name
    with gzip.open(folder / "requests.jsonl.gz", "rt", encoding="utf-8") as lines:
        requests = {row["request_id"]: row for row in map(json.loads, lines)}
    ids = sorted(requests)
    column = {request_id: index for index, request_id in enumerate(ids)}
    failures: dict[str, NDArray[np.bool_]] = defaultdict(lambda: np.ones(len(ids), dtype=bool))
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    with gzip.open(folder / "outcomes.csv.gz", "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            failures[row["model_version"]][column[row["request_id"]]] = row["success"] == "0"
            classes[row["model_version"]][row["failure_class"]] += 1
    ordered = _release_order(folder, sorted(failures))
    left_out = [version for version in ordered if _fails_by_format(failures[version], classes[version])]
    versions = [version for version in ordered if version not in left_out]
    return Outcomes(
        name=name,
        versions=versions,
        requests=[requests[request_id] for request_id in ids],
        features=[_features(requests[request_id]) for request_id in ids],
        failed=np.array([failures[version] for version in versions]),
        left_out=left_out,
    )


def _release_order(folder: Path, versions: list[str]) -> list[str]:
    listing = folder / "versions.csv"
    if not listing.exists():  # the name of a version begins with its date
        return versions
    with listing.open(encoding="utf-8") as lines:
        return [row["model_version"] for row in sorted(csv.DictReader(lines), key=lambda row: int(row["order"]))]


def _fails_by_format(failed: NDArray[np.bool_], classes: Counter[str]) -> bool:
    named = {name: count for name, count in classes.items() if name}
    by_format = sum(count for name, count in named.items() if "decoder" in name or "wrong_count" in name)
    return failed.mean() > _LARGEST_FAILURE_RATE and by_format > 0.5 * sum(named.values()) > 0


def _features(row: dict[str, object]) -> RequestFeatures:
    tools = row.get("tools") or []
    attributes = row.get("features") or {}
    assert isinstance(tools, list)
    assert isinstance(attributes, dict)
    return request_features(
        Request(
            capability=str(row["capability"]),
            request_id=str(row["request_id"]),
            text=str(row["text"]) or None,
            tools=tuple(
                Tool(tool["name"], tool.get("description", ""), json.dumps(tool.get("parameters"), sort_keys=True))
                for tool in tools
            ),
            attributes=attributes,
        )
    )
