"""
The pictures of the concept pages, drawn from what the demo measures.

`python -m docs.handbook.figures` replays the demo, keeps its numbers in `demo.json` beside it, and draws every
picture; `make figures` does so.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from docs.handbook.markdown import ROOT
from monitor.cli.wiring import file_replay
from monitor.config.model import Config
from monitor.demo.events import ROLLOUTS, write_demo_events
from monitor.difficulty.tiers import Tier
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.ledger.ledger import RolloutRecord
from monitor.log import LogLevel, LogSettings, configure
from monitor.output.charts.comparisons import RateRow, parts_chart, rates_chart, share_chart
from monitor.output.charts.drawing import COLOURS, SVG_NAMESPACE, Drawing, number
from monitor.output.charts.evidence import evidence_chart
from monitor.output.rollouts import rollout_json
from monitor.rollout.cohort import ArmName
from monitor.rollout.evidence import Evidence
from monitor.rollout.verdict import Interval
from monitor.rollout.wording import percent

FOLDER = ROOT / "docs" / "images" / "concepts"
NUMBERS = Path(__file__).with_name("demo.json")

CLIFF, GAIN, SAME = (rollout.service for rollout in ROLLOUTS if not rollout.is_canary)
"""Services of the demo's rollouts: a cliff, an ordinary gain, and a version against itself."""

_GAP = 24.0
_HEAD = 44.0
_FAILED = {Tier.EASY: (12, 6), Tier.MEDIUM: (30, 12), Tier.HARD: (60, 55)}
"""Failures before and after among 1,000 requests, 60/30/10 % of them easy, medium, hard; 98/90/40 -> 99/96/45 % pass."""
_REQUESTS = 1_000
_COLOURS = {Tier.EASY: "#4477aa", Tier.MEDIUM: "#ccbb44", Tier.HARD: "#aa3377"}

_Rollout = Mapping[str, Any]


def measured() -> dict[str, Any]:
    """Replays the demo; what the pictures need of each of its rollouts, by service."""
    config = Config()
    configure(LogSettings(level=LogLevel.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        write_demo_events(events)
        with file_replay(config, [str(events)], ledger_url=IN_MEMORY_URL) as replayed:
            replayed.read(progress=lambda _: None)
            replayed.finish(seconds=config.rollout.judged_after() + 1.0)
            ledger = replayed.stages.ledger
            found = {
                record.rollout.service: _kept(record, ledger.evidence(record.rollout.rollout_id))
                for record in ledger.rollouts()
            }
    return {name: found[name] for name in (CLIFF, GAIN, SAME)}


def _kept(record: RolloutRecord, looks: Sequence[Evidence]) -> dict[str, Any]:
    """What the pictures, and the sentences around them, need of a rollout."""
    told, verdict = rollout_json(record), record.verdict
    if verdict is None or verdict.share is None:
        raise ValueError(f"The demo's {record.rollout.service} has no share to draw.")
    names = (
        "baseline",
        "candidate",
        "verdict",
        "changes",
        "requests_to_verdict",
        "decomposition",
        "aggregate",
        "hard_tier",
    )
    return {
        **{name: told[name] for name in names},
        "tiers": {name: tier for name, tier in told["tiers"].items() if tier["baseline"]["requests"]},
        "share": asdict(verdict.share),
        "evidence": [{"at": look.at, **asdict(look.excess)} for look in looks if look.excess is not None],
    }


def drawn(numbers: Mapping[str, _Rollout]) -> dict[str, str]:
    """Every picture, by the name of its file."""
    pictures: dict[str, Callable[[], str]] = {
        "cliff.svg": _cliff,
        "concepts/tiers.svg": lambda: _tiers(numbers[CLIFF]),
        "concepts/uniform-gain.svg": lambda: _uniform_gain(numbers),
        "concepts/share.svg": lambda: _parts(numbers),
        "concepts/evidence.svg": lambda: _evidence(numbers),
    }
    return {name: draw() for name, draw in pictures.items()}


class _Sheet(Drawing):
    """A picture that is a file of its own, on white paper."""

    def __init__(self, name: str, *, title: str, description: str, width: float, height: float) -> None:
        super().__init__(name, title=title, description=description, width=width, height=height)
        self.root.attrib |= {"width": number(width), "height": number(height), "color": "#1f2328"}
        self.rect(0, 0, width, height, fill="#ffffff")

    def embed(self, picture: ET.Element, x: float, y: float) -> None:
        """Another picture at its own size, its upper left corner at *x* and *y*."""
        _, _, width, height = picture.attrib["viewBox"].split()
        picture.attrib |= {"x": number(x), "y": number(y), "width": width, "height": height}
        self.root.append(picture)

    def document(self) -> str:
        """The whole picture as a file that people may read."""
        ET.indent(self.root)
        return ET.tostring(self.root, encoding="unicode") + "\n"


def _cliff() -> str:
    """The cliff in its simplest form: a thousand requests before and after."""
    picture = _Sheet(
        "cliff",
        title="The capability cliff",
        description="; ".join(_told(arm) for arm in (0, 1)) + ".",
        width=760,
        height=300,
    )
    picture.text(24, 34, "The pass rate rises, and the failures that remain are hard", font_size=18, font_weight="bold")
    picture.text(24, 58, f"Failures among {_REQUESTS:,} requests, by tier of difficulty", font_size=15)
    for arm, (name, top) in enumerate((("before", 94.0), ("after", 174.0))):
        failures = sum(failed[arm] for failed in _FAILED.values())
        picture.text(24, top + 26, name, font_size=15, font_weight="bold")
        picture.text(24, top + 46, f"{(_REQUESTS - failures) / _REQUESTS:.1%} pass".replace("%", " %"), font_size=13)
        left = 124.0
        for tier, failed in _FAILED.items():
            width = 4.6 * failed[arm]
            picture.rect(left, top, width, 52, fill=_COLOURS[tier])
            ink = "#222222" if tier is Tier.MEDIUM else "#ffffff"
            picture.text(left + width / 2, top + 32, str(failed[arm]), anchor="middle", fill=ink, font_size=15)
            left += width
        hard = _FAILED[Tier.HARD][arm] / failures
        picture.text(left + 12, top + 24, f"{failures} failures,", font_size=15)
        picture.text(left + 12, top + 43, f"{hard:.0%} hard".replace("%", " %"), font_size=15, font_weight="bold")
    for place, tier in enumerate(_FAILED):
        picture.rect(124 + 110 * place, 252, 16, 16, fill=_COLOURS[tier])
        picture.text(148 + 110 * place, 265, tier.value, font_size=15)
    return picture.document()


def _told(arm: int) -> str:
    failed = ", ".join(f"{counts[arm]} {tier.value}" for tier, counts in _FAILED.items())
    return f"{('Before', 'after')[arm]}, {sum(counts[arm] for counts in _FAILED.values())} requests fail: {failed}"


def _tiers(rollout: _Rollout) -> str:
    rows = [RateRow(name, _rate(tier["baseline"]), _rate(tier["candidate"])) for name, tier in rollout["tiers"].items()]
    chart = rates_chart(rows, name="rates", title="Failure rate by tier", **_arms(rollout))
    return _sheet("tiers", {"Traffic by tier": _mix(rollout), "Failure rate by tier": chart})


def _mix(rollout: _Rollout) -> str:
    """How much of the traffic each tier holds."""
    requests = {name: tier["baseline"]["requests"] for name, tier in rollout["tiers"].items()}
    total = sum(requests.values())
    shares = {name: count / total for name, count in requests.items()}
    told = ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
    picture = Drawing("mix", title="Traffic by tier", description=f"{told}.", width=300, height=46 + 38 * len(shares))
    for row, (name, share) in enumerate(shares.items()):
        top = 46 + 38 * row
        picture.text(0, top + 23, name)
        picture.rect(70, top + 8, 340 * share, 22, fill=COLOURS[ArmName.BASELINE], fill_opacity=0.8)
        picture.text(76 + 340 * share, top + 23, percent(share))
    return picture.svg()


def _uniform_gain(numbers: Mapping[str, _Rollout]) -> str:
    return _sheet(
        "uniform-gain",
        {f"{rollout['verdict']}: {name}": _share(rollout, name) for name, rollout in _first_two(numbers).items()},
    )


def _parts(numbers: Mapping[str, _Rollout]) -> str:
    return _sheet(
        "share",
        {
            f"{rollout['verdict']}: {name}": parts_chart(
                {part.replace("_", " "): change for part, change in rollout["decomposition"].items()},
                name=f"parts-{name}",
                title="What moved the hard tier's share of failures, in points",
            )
            for name, rollout in _first_two(numbers).items()
        },
    )


def _evidence(numbers: Mapping[str, _Rollout]) -> str:
    return _sheet(
        "evidence",
        {
            f"{numbers[name]['verdict']}: {name}": evidence_chart(
                [(look["at"], _interval(look)) for look in numbers[name]["evidence"]],
                name=f"evidence-{name}",
                title="Excess of the hard tier's share of failures, in points",
                threshold=0.0,
                threshold_name="a cliff needs the band above 0",
                changes=[
                    (datetime.fromisoformat(change["at"]).timestamp(), change["verdict"])
                    for change in numbers[name]["changes"]
                ],
            )
            for name in (CLIFF, SAME)
        },
    )


def _first_two(numbers: Mapping[str, _Rollout]) -> dict[str, _Rollout]:
    return {name: numbers[name] for name in (CLIFF, GAIN)}


def _share(rollout: _Rollout, name: str) -> str:
    share = rollout["share"]
    return share_chart(
        name=f"share-{name}",
        title="The hard tier's share of failures",
        baseline=_interval(share["baseline"]),
        candidate=_interval(share["candidate"]),
        expected_change=share["expected_change"],
        baseline_name=rollout["baseline"],
        candidate_name=rollout["candidate"],
    )


def _arms(rollout: _Rollout) -> dict[str, str]:
    return {"baseline": rollout["baseline"], "candidate": rollout["candidate"]}


def _rate(rate: Mapping[str, Any]) -> Interval:
    return Interval(rate["rate"], rate["lower"], rate["upper"])


def _interval(bounds: Mapping[str, Any]) -> Interval:
    return Interval(bounds["estimate"], bounds["lower"], bounds["upper"])


def _sheet(name: str, charts: Mapping[str, str]) -> str:
    """*charts* side by side on white paper, each under its heading, as a file of its own."""
    parts = {heading: _element(chart) for heading, chart in charts.items()}
    sizes = [tuple(float(number) for number in part.attrib["viewBox"].split()[2:]) for part in parts.values()]
    sheet = _Sheet(
        name,
        title=", ".join(charts),
        description=" ".join(f"{heading}: {part.findtext('desc')}" for heading, part in parts.items()),
        width=sum(size[0] for size in sizes) + _GAP * (len(sizes) + 1),
        height=_HEAD + max(size[1] for size in sizes) + _GAP,
    )
    left = _GAP
    for (heading, part), size in zip(parts.items(), sizes, strict=True):
        sheet.text(left, _HEAD - 16, heading, font_size=15, font_weight="bold")
        sheet.embed(part, left, _HEAD)
        left += size[0] + _GAP
    return sheet.document()


def _element(chart: str) -> ET.Element:
    """A chart as an element without a name space, which the sheet around it names already."""
    return ET.fromstring(chart.replace(f' xmlns="{SVG_NAMESPACE}"', ""))  # noqa: S314 - drawn by ourselves


def main() -> None:
    """Replay the demo and draw."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    numbers = measured()
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    for name, picture in drawn(numbers).items():
        (ROOT / "docs" / "images" / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
