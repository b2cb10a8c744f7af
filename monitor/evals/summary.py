"""What every form of the report says in the same words: the numbers of a row, the cases, the gate, the provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from monitor.difficulty.tiers import Tier
from monitor.evals.cases import Pair
from monitor.evals.comparison import Comparison, Stratum
from monitor.evals.gate import GateResult
from monitor.evals.report import EvalReport
from monitor.output.charts.rates import RateRow
from monitor.rollout.wording import bounds, count, counted, one_line, percent, probability, signed, some_of

HEADINGS = ("cases", "before", "after", "change", "bounds", "failures", "lost", "won", "p")
"""Names of what `cells` gives."""

_FILES_SHOWN = 3
_NAMED = 5


def cells(stratum: Stratum) -> Sequence[str]:
    """The numbers of a row: rates are pass rates, the change and its bounds are in points."""
    return (
        f"{stratum.cases:,}",
        percent(stratum.before.estimate),
        percent(stratum.after.estimate),
        signed(stratum.change.estimate),
        bounds(stratum.change),
        f"{count(stratum.failures_before)} → {count(stratum.failures_after)}",
        f"{stratum.newly_failing:,}",
        f"{stratum.newly_passing:,}",
        probability(stratum.p_value),
    )


def rate_rows(report: EvalReport, gate: GateResult | None) -> Sequence[RateRow]:
    """The rows of the chart of pass rates, each with the floor that a gate holds it to."""
    floors = {} if gate is None else gate.floors
    return [
        RateRow(name, stratum.before, stratum.after, floors.get(name.replace(" ", "_")))
        for name, stratum in report.comparison.rows().items()
    ]


def classes_worst_first(comparison: Comparison) -> Mapping[str, Stratum]:
    """Capability classes by their change; none where there is only one, which is everything over again."""
    classes = comparison.capabilities
    names = sorted(classes, key=lambda name: classes[name].change.estimate) if len(classes) > 1 else []
    return {name: classes[name] for name in names}


def case_lists(report: EvalReport) -> Sequence[tuple[str, str, Sequence[Pair]]]:
    """The lists of cases that have one: a name, what it means, the cases."""
    lists = (
        ("Lost", "passed before and fail now", report.lost),
        ("Won", "failed before and pass now", report.won),
        ("Flaky", "pass some attempts and fail others", report.flaky),
    )
    return [each for each in lists if each[2]]


def cases_line(report: EvalReport) -> str:
    """How many cases are lost, won and flaky, and the first that are lost."""
    counts = f"{len(report.lost):,} lost, {len(report.won):,} won"
    counts += f", {len(report.flaky):,} flaky" if report.flaky else ""
    named = some_of([one_line(str(case.key), None) for case in report.lost], _NAMED)
    return f"{counts}: {named}" if named else counts


def case_words(case: Pair, longest: int) -> str:
    """One case of a list, and what went wrong in at most *longest* letters; 0 leaves it out."""
    about = [case.tier.value] if case.tier is not Tier.UNTIERED else []
    about += [case.capability] if case.capability else []
    about += [f"{percent(case.before)} → {percent(case.after)}"] if not {case.before, case.after} <= {0.0, 1.0} else []
    about += ["flaky"] if case.is_flaky else []
    failure = case.candidate.failure
    return (f" ({', '.join(about)})" if about else "") + (f": {one_line(failure, longest)}" if failure else "")


def gate_line(gate: GateResult) -> str:
    """Whether the gate is open, and because of how many rules it is not."""
    rules = counted(len(gate.rules), "rule")
    return f"open, {rules} kept" if gate.is_open else f"closed by {len(gate.broken):,} of {rules}"


def repeats(comparison: Comparison) -> Iterator[str]:
    """Per row, how reliably repeated cases pass; nothing where each case was asked once."""
    for name, stratum in comparison.rows().items():
        if stratum.flaky or stratum.tries > 1:
            share = f"{stratum.flaky:,} of {counted(stratum.cases, 'case')} flaky ({stratum.flaky / stratum.cases:.0%})"
            rates = f"{percent(stratum.all_tries_before)} → {percent(stratum.all_tries_after)}"
            yield f"{name}: {share}, pass^{stratum.tries} {rates}"


def provenance(report: EvalReport) -> Iterator[str]:
    """Where the numbers come from, and what they mean."""
    yield report.tiering.explanation
    yield from report.tiering.notes
    for name, source in (("Baseline", report.baseline), ("Candidate", report.candidate)):
        more = len(source.files) - _FILES_SHOWN
        files = ", ".join(source.files[:_FILES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        yield f"{name}: {files} ({', '.join(source.formats)}). {' '.join(source.notes)}".rstrip()
    yield (
        f"Bounds are paired (Newcombe) and hold with {percent(report.comparison.confidence)} over all tiers, and over "
        "all classes, together; p is McNemar's exact test for one look at a fixed sample, raised for their number "
        "(Holm). Lost: newly failing, won: newly passing, by the majority of attempts. A case counts if at least half "
        "of its attempts have a score."
    )
