"""The pages and their routes; each page is a function from a snapshot and evidence to an HTML document."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitor.errors import MonitorError
from monitor.ledger.ledger import CounterName, RolloutRecord
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.output.cases import TraceLinks
from monitor.output.rollouts import counter_totals, story
from monitor.rollout.cases import Cases, by_signature
from monitor.rollout.evidence import Evidence
from monitor.service.rollout_control import RolloutControl
from monitor.web.bodies import Body, BodyResponse, SnapshotBodies
from monitor.web.page import views


class Page:
    """
    Renders pages.

    Args:
        snapshot: The snapshot to show.
        root: Relative URL of the overview, without a final slash; relative, so that the pages work under any path of a
            reverse proxy.
        refresh_seconds: Seconds after which the browser reloads the page; 0 for never.
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
        """The overview: every rollout with its verdict and reasons, the worst first, and the monitor's own health."""
        snapshot = self._snapshot
        watched = views.under_way(snapshot)
        sums = counter_totals(snapshot.counters)
        return views.render(
            "overview.html",
            **self._shared,
            watched=watched,
            over=views.ended(snapshot),
            alarms=views.alarms(watched),
            happenings=views.since_yesterday(snapshot),
            totals={name.value: sums.get(name, 0) for name in CounterName},
            letters=views.dead_letters(snapshot),
        )

    def rollout(
        self,
        record: RolloutRecord,
        evidence: Sequence[Evidence] = (),
        worst: tuple[Cases, TraceLinks] | None = None,
        problem: str = "",
    ) -> str:
        """
        Everything about one rollout.

        Args:
            record: The rollout.
            evidence: Evidence at the looks at it, oldest first.
            worst: Its first few cases, with links to their traces; None if they are not known.
            problem: Why evidence or cases are not known, in one sentence; empty if they are.
        """
        compared = [] if record.verdict is None else views.comparisons(record.verdict)
        return views.render(
            "rollout.html",
            **self._shared,
            record=record,
            comparisons=compared,
            rate_rows=views.rate_rows(record, compared),
            coverage={name: (rates.baseline.coverage, rates.candidate.coverage) for name, rates in compared},
            forecast=views.forecast(record, evidence),
            floors=views.floors(record),
            evidence=evidence,
            problem=problem,
            evidence_pictures=views.evidence_pictures(record, evidence, self._snapshot.policy),
            listed=views.listed(evidence),
            worst=worst,
            story=story(record, self._snapshot.rollouts),
        )

    def cases(self, record: RolloutRecord, cases: Cases, links: TraceLinks, *, can_show_more: bool) -> str:
        """Requests that established versions passed and the candidate fails."""
        return views.render(
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
        return views.render("problem.html", **self._shared, title=title, sentence=sentence)


WORST_CASES, FEW_CASES, MANY_CASES = 3, 50, 1_000
"""Most cases on the page of a rollout, and on its page of cases by default and with `?many`."""

_NAMES = ("service", "environment", "baseline", "candidate")

_REFRESH_SECONDS = (15, 60, 300)
_MOST_DIGITS = 4


def page_routes(snapshots: SnapshotHolder, bodies: SnapshotBodies, control: RolloutControl | None) -> Sequence[Route]:
    """
    The routes.

    A page reloads itself only if its URL says so (`?refresh=60`), since a reload disturbs users of a screen reader or a
    magnifier. Each parameter has only a few values, since every page is cached until the next snapshot.

    Args:
        snapshots: Holds the current snapshot.
        bodies: Cache of the pages that need only the snapshot.
        control: Source of evidence and cases; None if there is none.
    """
    # A cache of its own, so that a slow ledger delays only these pages, and no scrape.
    ledger_bodies = SnapshotBodies(snapshots)

    async def overview(request: Request) -> Response:
        refresh = _refresh(request)
        body = await bodies.get(
            ("overview", refresh), lambda snapshot: Page(snapshot, refresh_seconds=refresh).overview().encode()
        )
        return _html(body, refresh=refresh)

    async def rollout(request: Request) -> Response:
        wanted, refresh = request.path_params["rollout_id"], _refresh(request)
        if _record(snapshots.current, wanted) is None:
            return _not_found(snapshots.current, root="..")
        make = partial(_rollout, wanted=wanted, control=control, refresh=refresh)
        return _html(await ledger_bodies.get((wanted, refresh), make), refresh=refresh)

    async def by_name(request: Request) -> Response:
        names = {key: value for key, value in request.query_params.items() if key in _NAMES}
        for record in reversed(snapshots.current.rollouts):
            if names.items() <= {name: getattr(record.rollout, name) for name in _NAMES}.items():
                path = "/cases" if request.query_params.get("show") == "cases" else ""
                return RedirectResponse(f"rollouts/{quote(record.rollout.rollout_id, safe='')}{path}", status_code=307)
        return _not_found(snapshots.current, root=".")

    async def cases(request: Request) -> Response:
        wanted, refresh = request.path_params["rollout_id"], _refresh(request)
        if _record(snapshots.current, wanted) is None or control is None:
            return _not_found(snapshots.current, root="../..")
        limit = MANY_CASES if "many" in request.query_params else FEW_CASES
        make = partial(_cases, wanted=wanted, control=control, limit=limit, refresh=refresh)
        try:
            return _html(await ledger_bodies.get((wanted, limit, refresh), make), refresh=refresh)
        except MonitorError as error:
            page = Page(snapshots.current, root="../..")
            return _html(page.problem("The cases cannot be loaded now", str(error)), status=503)

    return [
        Route("/", overview),
        Route("/rollouts", by_name),
        Route("/rollouts/{rollout_id}", rollout),
        Route("/rollouts/{rollout_id}/cases", cases),
    ]


def _rollout(snapshot: Snapshot, *, wanted: str, control: RolloutControl | None, refresh: int) -> bytes:
    page, record = Page(snapshot, root="..", refresh_seconds=refresh), _record(snapshot, wanted)
    if record is None:  # a newer snapshot does not have it any more
        return page.problem(*_NO_SUCH_ROLLOUT).encode()
    if control is None:
        return page.rollout(record, problem="There is no ledger to read.").encode()
    try:
        worst = (control.cases(wanted, limit=WORST_CASES)[1], control.links)
        return page.rollout(record, control.evidence(wanted), worst).encode()
    except MonitorError as error:  # show the rest of the page
        return page.rollout(record, problem=str(error)).encode()


def _cases(snapshot: Snapshot, *, wanted: str, control: RolloutControl, limit: int, refresh: int) -> bytes:
    record, cases = control.cases(wanted, limit=limit)
    page = Page(snapshot, root="../..", refresh_seconds=refresh)
    return page.cases(record, cases, control.links, can_show_more=limit < MANY_CASES).encode()


def _record(snapshot: Snapshot, wanted: str) -> RolloutRecord | None:
    return next((record for record in snapshot.rollouts if record.rollout.rollout_id == wanted), None)


_NO_SUCH_ROLLOUT = ("There is no such rollout", "The address may be incomplete, or it was a rollout of another ledger.")


def _not_found(snapshot: Snapshot, *, root: str) -> Response:
    return _html(Page(snapshot, root=root).problem(*_NO_SUCH_ROLLOUT), status=404)


def _html(body: Body | str, *, status: int = 200, refresh: int = 0) -> Response:
    headers = views.PAGE_HEADERS | ({"Refresh": str(refresh)} if refresh else {})
    return BodyResponse(Body(body.encode()) if isinstance(body, str) else body, headers, status_code=status)


def _refresh(request: Request) -> int:
    """Seconds between reloads: the requested number, rounded up to one of a few choices; 0 for no reload."""
    requested = request.query_params.get("refresh", "")[:_MOST_DIGITS]
    if not (requested.isascii() and requested.isdigit()):
        return 0
    return next((seconds for seconds in _REFRESH_SECONDS if seconds >= int(requested)), _REFRESH_SECONDS[-1])
