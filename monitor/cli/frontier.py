"""`cliffwatch frontier`: which model version for which capability class."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli import options
from monitor.cli.app import app, print_result
from monitor.cli.terminal.probes import print_frontier, print_horizons
from monitor.cli.wiring import existing_ledger, reviewer_of
from monitor.errors import UsageError
from monitor.output.frontier import Use, class_frontiers, live_counts, live_uses, panel_counts, version_horizons
from monitor.rollout.wording import some_of
from monitor.trace.horizon import Horizon


@app.command()
def frontier(
    service: str = "",
    *,
    environment: str = "production",
    by: Horizon | None = None,
    min_requests: Annotated[int, typer.Option(min=1)] = 30,
    shared: options.Shared,
) -> None:
    """
    Show the best model version of each class on hard and frontier requests, with bounds, cost and latency.

    Without SERVICE, it compares all versions on the same probes (environments `probes` and `reference`); the
    calibration in force says which probes are hard. With SERVICE, it compares live requests as they were tagged: the
    numbers of the Frontier dashboard, by the first outcome of each request, though versions may have served different
    requests. It also names the versions that may be below the best only by chance; choose among these by cost and
    latency.

    With --by, it shows how often the runs of SERVICE pass as they get longer, with 90 % bounds and a line at their
    budgets, by the current outcome of each run. Lengths double from row to row; runs without a length have their own
    row. Difficult requests take longer and fail more often, so compare versions, not lengths.

    Example: [bold]cliffwatch frontier --min-requests 10 --output json[/]

    Args:
        service (SERVICE): Compare live requests of this service; by default, runs of the panel.
        environment (NAME): Environment of the live requests.
        by: Show success by the length of a run instead.
        min_requests: Labelled requests needed for a figure.
    """
    config = shared.config()
    uses: dict[str, Use] = {}
    if by is not None and not service:
        raise UsageError(f"Name the service whose runs you want: cliffwatch frontier SERVICE --by {by}.")
    with existing_ledger(config, shared.ledger) as opened:
        if service:
            counters = opened.counters()
            known = {f"{key.service} in {key.environment}" for key in counters if key.service}
            if known and f"{service} in {environment}" not in known:
                raise UsageError(f"No request of {service} came from {environment}; known: {some_of(sorted(known))}.")
            if by is not None:
                horizons = version_horizons(counters, service, environment, by, min_requests=min_requests)
                print_result(shared.output, horizons, print_horizons, horizons, by)
                return
            counts, uses = live_counts(counters, service, environment), dict(live_uses(counters, service, environment))
        else:
            calibration = reviewer_of(config, opened).calibration_in_force()
            if calibration is None:
                raise UsageError(
                    "No calibration says which probes are hard; run `cliffwatch calibrate` on the panel's outcomes."
                )
            tiers = {(item.capability, item.item): calibration.tag(item).tier for item, _ in opened.items()}
            counts = panel_counts(opened.probe_results(), lambda *probe: tiers[probe])
    print_result(shared.output, class_frontiers(counts, uses, min_requests=min_requests), print_frontier)
