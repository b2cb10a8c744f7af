"""The status page as one HTML document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from monitor.metrics.report import OnCallJson, RateJson, RolloutJson, TierJson, iso_time, rollout_json
from monitor.metrics.snapshot import CalibrationStatus, Snapshot

_UNKNOWN = "not known"
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
section { border-top: 1px solid; padding: .5rem 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; }
.scroll { overflow-x: auto; }
.verdict { border: 2px solid; border-radius: .3rem; padding: 0 .4rem; font-weight: bold; }
"""


def render_status(snapshot: Snapshot) -> str:
    """The page: rollouts with their verdict and reasons first, the latest on top, then health."""
    rollouts = [rollout_json(record) for record in sorted(snapshot.rollouts, key=lambda each: -each.rollout.started_at)]
    body = "".join(_rollout(rollout) for rollout in rollouts) or "<p>No rollout has been seen yet.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Cliffwatch</title><style>{_STYLE}</style></head><body>"
        f"<h1>Cliffwatch</h1><h2>Rollouts</h2><main>{body}</main>{_health(snapshot)}"
        '<p><a href="/metrics">Metrics</a> · <a href="/api/v1/rollouts">JSON</a></p></body></html>\n'
    )


def _rollout(rollout: RolloutJson) -> str:
    title = f"{rollout['service']} ({rollout['environment']}): {rollout['baseline']} → {rollout['candidate']}"
    needed = rollout["requests_needed"]
    return (
        f'<section><h3><span class="verdict">{escape(rollout["verdict"])}</span> {escape(title)}</h3>'
        f"<p>Started {escape(rollout['started_at'])}.</p>"
        f"{_list(rollout['reasons'])}"
        + (f"<p>{needed} more labelled requests of the candidate are needed.</p>" if needed else "")
        + _rates(rollout)
        + _shares(rollout)
        + _load(rollout["on_call"])
        + "</section>"
    )


def _rates(rollout: RolloutJson) -> str:
    if rollout["aggregate"] is None:
        return ""
    rows = [_rate_row(name, tier) for name, tier in rollout["tiers"].items()]
    if rollout["hard_tier"] is not None:
        rows.append(_rate_row("hard + frontier", rollout["hard_tier"]))
    rows.append(_rate_row("all", rollout["aggregate"]))
    return _table("Failure rate by tier", ("tier", rollout["baseline"], rollout["candidate"], "change"), rows)


def _rate_row(name: str, tier: TierJson) -> Sequence[str]:
    change = tier["change"]
    shown = _UNKNOWN if change is None else _points(change["estimate"], change["lower"], change["upper"])
    return name, _rate(tier["baseline"]), _rate(tier["candidate"]), shown


def _rate(rate: RateJson) -> str:
    value, lower, upper = rate["rate"], rate["lower"], rate["upper"]
    counts = f"{rate['failures']} of {rate['requests']}"
    if value is None or lower is None or upper is None:
        return f"{_UNKNOWN} ({counts})"
    return f"{value:.1%} [{lower:.1%}, {upper:.1%}] ({counts})"


def _shares(rollout: RolloutJson) -> str:
    share, parts = rollout["share"], rollout["decomposition"]
    rows = []
    if share is not None:
        rows += [
            ("baseline", f"{share['baseline']:.1%}"),
            ("candidate", f"{share['candidate']:.1%}"),
            ("change", _points(share["change"], share["lower"], share["upper"])),
            ("expected of a uniform gain", f"{100 * share['expected_change']:+.1f} points"),
            ("excess", _points(share["excess"], share["excess_lower"], share["excess_upper"])),
        ]
    if parts is not None:
        rows += [
            ("part of traffic mix", f"{100 * parts['traffic_mix']:+.1f} points"),
            ("part of easier tiers", f"{100 * parts['easier_tiers']:+.1f} points"),
            ("part of hard tiers", f"{100 * parts['hard_tiers']:+.1f} points"),
        ]
    return _table("The hard tier's share of failures", ("", "value"), rows) if rows else ""


def _load(load: OnCallJson | None) -> str:
    if load is None:
        return ""
    rows = [(tier, f"{both['baseline']:.1f}", f"{both['candidate']:.1f}") for tier, both in load["tiers"].items()]
    rows.append(("all", f"{load['total']['baseline']:.1f}", f"{load['total']['candidate']:.1f}"))
    return _table("Expected failures per 1,000 requests", ("tier", "baseline", "candidate"), rows)


def _points(estimate: float, lower: float, upper: float) -> str:
    return f"{100 * estimate:+.1f} points [{100 * lower:+.1f}, {100 * upper:+.1f}]"


def _health(snapshot: Snapshot) -> str:
    ready = "ready" if snapshot.is_ready else f"not ready: {snapshot.not_ready_reason}"
    committed = "never" if snapshot.last_commit_at is None else iso_time(snapshot.last_commit_at)
    rows = [
        ("state", ready),
        ("last commit", committed),
        ("lag", f"{sum(partition.records for partition in snapshot.lag)} records" if snapshot.lag else _UNKNOWN),
        ("calibration", _calibration(snapshot.calibration)),
        *((fact.name, f"{'ok' if fact.is_ok else 'not ok'}: {fact.sentence}") for fact in snapshot.health),
    ]
    return f"<h2>Health</h2>{_table('Health of the monitor', ('check', 'found'), rows)}"


def _calibration(calibration: CalibrationStatus | None) -> str:
    if calibration is None:
        return "none: tiers are not known yet"
    trust = "trusted" if calibration.trust.is_trusted else f"not trusted: {' '.join(calibration.trust.reasons)}"
    return f"{calibration.calibration_id}, frozen {iso_time(calibration.frozen_at)}, {trust}"


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heading = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heading}</tr></thead>"
        f"<tbody>{''.join(_row(row) for row in rows)}</tbody></table></div>"
    )


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in others)}</tr>'
