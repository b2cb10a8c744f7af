"""The report as Markdown for a pull request: verdict, gate and cases open, the rest to unfold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from monitor.evals.comparison import Stratum
from monitor.evals.gate import GateResult, RuleState
from monitor.evals.report import EvalReport
from monitor.evals.share import ShareReport
from monitor.evals.summary import (
    HEADINGS,
    case_lists,
    case_words,
    cases_line,
    cells,
    classes_worst_first,
    gate_line,
    provenance,
    repeats,
)
from monitor.evals.words import bounds, one_line, percent, signed
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
    yield f"### {_SIGNS[report.verdict]} {report.verdict.value}: {_text(report.headline)}"
    yield ""
    yield f"{_text(report.baseline.label)} → {_text(report.candidate.label)}"
    if gate is not None:
        yield ""
        yield f"**Gate: {gate_line(gate)}**"
        yield ""
        yield from (f"- {_RULE_SIGNS[rule.state]} {_text(rule.sentence)}" for rule in gate.rules)
    yield ""
    yield f"**Cases: {_text(cases_line(report))}**"
    yield ""
    yield from _strata("tier", comparison.rows())
    yield ""
    yield from (f"- {_text(reason)}" for reason in (*report.reasons, *repeats(comparison)))
    for name, meaning, changes in case_lists(report):
        lines = [f"- {_text(str(case.key) + case_words(case, _LONGEST_FAILURE))}" for case in changes[:_CASES_SHOWN]]
        more = [f"- and {len(changes) - _CASES_SHOWN:,} more"] if len(changes) > _CASES_SHOWN else []
        yield from _folded(f"{name}: {len(changes):,} that {meaning}", [*lines, *more])
    classes = classes_worst_first(comparison)
    if classes:
        yield from _folded(f"By class ({len(classes):,})", list(_strata("class", classes)))
    if comparison.share is not None:
        yield from _folded("The hard tier's share of failures", list(_share(comparison.share)))
    spots = [f"- {_text(spot.sentence)}" for spot in report.audit.blind_spots]
    yield from _folded(f"What this suite cannot see ({len(spots):,})", spots)
    yield from _folded("Where this comes from", [f"- {_text(sentence)}" for sentence in provenance(report)])


def _strata(name: str, rows: Mapping[str, Stratum]) -> Iterator[str]:
    yield f"| {' | '.join((name, *HEADINGS))} |"
    yield "|---|--:|--:|--:|--:|:-:|:-:|--:|--:|--:|"
    yield from (f"| {' | '.join(map(_text, (title, *cells(stratum))))} |" for title, stratum in rows.items())


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


def _folded(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ("", f"<details><summary>{title}</summary>", "", *lines, "", "</details>")


def _text(text: str) -> str:
    """*text* as it is, in one line: neither Markdown nor HTML, and nobody is mentioned."""
    return one_line(text, None).translate(_SPECIAL).replace("@", "@\u200b")
