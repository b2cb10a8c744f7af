"""The pages: each a function from what is known to one HTML document."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from monitor.ledger.ledger import CounterName, RolloutRecord
from monitor.metrics.snapshot import Snapshot
from monitor.output.cases import TraceLinks
from monitor.output.rollouts import counter_totals
from monitor.rollout.cases import Cases, by_signature
from monitor.rollout.evidence import Evidence
from monitor.web.page import overview, rollout_view
from monitor.web.page.rendering import render


class Page:
    """
    What every page shares.

    Args:
        snapshot: What is shown.
        root: The way from the page to the overview, without a slash at its end; relative, so that the pages work
            below any path that a proxy serves them under.
        refresh_seconds: Seconds after which the browser was asked to load the page again; 0 for never.
    """

    def __init__(self, snapshot: Snapshot, *, root: str = ".", refresh_seconds: int = 0) -> None:
        self._snapshot = snapshot
        self._shared = {
            "snapshot": snapshot,
            "root": root,
            "refresh_seconds": refresh_seconds,
            "link": lambda record: f"{root}/rollouts/{quote(record.rollout.rollout_id, safe='')}",
        }

    def overview(self) -> str:
        """Every rollout with its verdict and reasons, the worst first, and whether to trust the monitor."""
        snapshot = self._snapshot
        watched = overview.under_way(snapshot)
        sums = counter_totals(snapshot.counters)
        return render(
            "overview.html",
            **self._shared,
            watched=watched,
            over=overview.ended(snapshot),
            alarms=overview.alarms(watched),
            happenings=overview.since_yesterday(snapshot),
            totals={name.value: sums.get(name, 0) for name in CounterName},
            letters=overview.dead_letters(snapshot),
        )

    def rollout(
        self, record: RolloutRecord, evidence: Sequence[Evidence], *, evidence_problem: str = "", has_cases: bool = True
    ) -> str:
        """
        Everything about one rollout.

        Args:
            record: The rollout.
            evidence: What was found at the looks at it, oldest first.
            evidence_problem: Why that is not known, in one sentence; empty where it is.
            has_cases: Whether there is a page of its cases.
        """
        verdict = record.verdict
        pictures = {}
        if verdict is not None:
            pictures = {
                "comparisons": rollout_view.comparisons(verdict),
                "rates_picture": rollout_view.rates_picture(record, verdict),
                "share_picture": rollout_view.share_picture(record, verdict),
                "parts_picture": rollout_view.parts_picture(verdict),
                "coverage_picture": rollout_view.coverage_picture(record, verdict),
            }
        return render(
            "rollout.html",
            **self._shared,
            **pictures,
            record=record,
            forecast=rollout_view.forecast(record, evidence),
            floors=rollout_view.floors(record),
            evidence=evidence,
            evidence_problem=evidence_problem,
            evidence_pictures=rollout_view.evidence_pictures(record, evidence, self._snapshot.policy),
            listed=rollout_view.listed(evidence),
            has_cases=has_cases,
        )

    def cases(self, record: RolloutRecord, cases: Cases, links: TraceLinks, *, can_show_more: bool) -> str:
        """Requests that established versions passed and the candidate fails."""
        return render(
            "cases.html",
            **self._shared,
            record=record,
            cases=cases,
            groups=by_signature(cases.cases),
            links=links,
            can_show_more=can_show_more and cases.total > len(cases.cases),
        )

    def problem(self, title: str, sentence: str) -> str:
        """Why a page cannot be shown, and what to do."""
        return render("problem.html", **self._shared, title=title, sentence=sentence)
