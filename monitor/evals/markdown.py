"""The report as Markdown for a pull request: the verdict open, the rest to unfold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from monitor.difficulty.tiers import Tier
from monitor.evals.comparison import Comparison, Stratum
from monitor.evals.gate import GateResult, RuleState
from monitor.evals.report import ArmSource, CaseChange, EvalReport
from monitor.evals.share import ShareReport
from monitor.evals.words import bounds, count, counted, one_line, percent, probability, signed
from monitor.rollout.verdict import VerdictState

_SIGNS = {
    VerdictState.OK: "✅",
    VerdictState.CLIFF: "🛑",
    VerdictState.REGRESSION: "🛑",
    VerdictState.WAITING: "⚠️",
}
_RULE_SIGNS = {RuleState.KEPT: "✅", RuleState.BROKEN: "🛑", RuleState.UNDECIDED: "⚠️"}
_SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})
_CASES_SHOWN = 50
_LONGEST_FAILURE = 300


def markdown_report(report: EvalReport, gate: GateResult | None = None) -> str:
    """The whole document, at most some dozen kilobytes: comments are limited to 64."""
    return "\n".join(_lines(report, gate)) + "\n"


def _lines(report: EvalReport, gate: GateResult | None) -> Iterator[str]:
    comparison = report.comparison
    arms = f"{_text(report.baseline.label)} → {_text(report.candidate.label)}"
    yield f"### {_SIGNS[report.verdict]} {arms}: {report.verdict.value}"
    yield ""
    yield from (f"- {_text(reason)}" for reason in report.reasons)
    yield ""
    yield from _strata("tier", _tier_rows(comparison))
    if comparison.share is not None:
        yield ""
        yield from _share(comparison.share)
    if gate is not None:
        yield ""
        yield from _gate(gate)
    yield from _folded(
        f"Hard cases that passed and no longer do ({len(report.regressed):,})", _regressed(report.regressed)
    )
    if len(comparison.capabilities) > 1:
        rows = sorted(comparison.capabilities.items(), key=lambda item: item[1].change.estimate)
        yield from _folded(f"By capability ({len(rows):,})", list(_strata("capability", dict(rows))))
    spots = [f"- {_text(spot.sentence)}" for spot in report.audit.blind_spots]
    yield from _folded(f"What this suite cannot see ({len(spots):,})", spots)
    yield from _folded("Where this comes from", list(_provenance(report)))


def _tier_rows(comparison: Comparison) -> Mapping[str, Stratum]:
    rows = {tier.value: stratum for tier, stratum in comparison.tiers.items()}
    if comparison.hard_tier is not None and Tier.FRONTIER in comparison.tiers:
        rows["hard tier"] = comparison.hard_tier
    return {**rows, "**all**": comparison.aggregate}


def _strata(name: str, rows: Mapping[str, Stratum]) -> Iterator[str]:
    yield f"| {name} | cases | passed before | after | change, points | bounds | failures | lost / won | p |"
    yield "|---|--:|--:|--:|--:|:-:|:-:|:-:|--:|"
    for title, stratum in rows.items():
        cells = (
            title if title.startswith("**") else _text(title),
            f"{stratum.cases:,}",
            percent(stratum.before.estimate),
            percent(stratum.after.estimate),
            signed(stratum.change.estimate),
            bounds(stratum.change),
            f"{count(stratum.failures_before)} → {count(stratum.failures_after)}",
            f"{stratum.newly_failing:,} / {stratum.newly_passing:,}",
            _text(probability(stratum.p_value)),
        )
        yield f"| {' | '.join(cells)} |"


def _share(share: ShareReport) -> Iterator[str]:
    yield "| hard tier's share of failures | | bounds |"
    yield "|---|--:|:-:|"
    yield f"| before → after | {percent(share.baseline.estimate)} → {percent(share.candidate.estimate)} | |"
    yield f"| change, points | {signed(share.change.estimate)} | {bounds(share.change)} |"
    yield f"| that a uniform gain would give | {signed(share.expected_change)} | |"
    yield f"| excess over it | {signed(share.excess.estimate)} | {bounds(share.excess)} |"
    if share.decomposition is not None:
        yield f"| from easier tiers failing less or more | {signed(share.decomposition.easier_tiers)} | |"
        yield f"| from hard tiers failing less or more | {signed(share.decomposition.hard_tiers)} | |"


def _gate(gate: GateResult) -> Iterator[str]:
    yield f"**Gate: {'open' if gate.is_open else 'closed'}**"
    yield ""
    yield from (f"- {_RULE_SIGNS[rule.state]} {_text(rule.sentence)}" for rule in gate.rules)


def _regressed(regressed: Sequence[CaseChange]) -> Sequence[str]:
    lines = []
    for case in regressed[:_CASES_SHOWN]:
        rates = "" if {case.before, case.after} <= {0.0, 1.0} else f" {percent(case.before)} → {percent(case.after)}"
        failure = "" if case.failure is None else f": {_text(one_line(case.failure, _LONGEST_FAILURE))}"
        lines.append(f"- {_text(str(case.key))}{rates}{failure}")
    if len(regressed) > _CASES_SHOWN:
        lines.append(f"- and {len(regressed) - _CASES_SHOWN:,} more")
    return lines


def _folded(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ("", f"<details><summary>{title}</summary>", "", *lines, "", "</details>")


def _provenance(report: EvalReport) -> Iterator[str]:
    yield f"- {_text(report.tiering.explanation)}"
    yield from (f"- {_text(note)}" for note in report.tiering.notes)
    for name, source in (("Baseline", report.baseline), ("Candidate", report.candidate)):
        yield f"- {name}: {_source(source)}"
    yield (
        f"- Bounds are paired (Newcombe) and hold with {percent(report.comparison.confidence)} over all tiers "
        "together; p is McNemar's exact test, raised for their number. Lost: newly failing cases, won: newly passing "
        "ones."
    )


def _source(source: ArmSource) -> str:
    formats = ", ".join(source.formats)
    return _text(f"{counted(len(source.files), 'file')} of {formats}. {' '.join(source.notes)}".rstrip())


def _text(text: str) -> str:
    """*text* as it is, in one line: neither Markdown nor HTML, and nobody is mentioned."""
    return one_line(text, None).translate(_SPECIAL).replace("@", "@\u200b")
