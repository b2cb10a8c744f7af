"""`cliffwatch probes`: the panel that says most about the tiers, and what versions made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli import options
from monitor.cli.app import app, print_result, writing
from monitor.cli.probes_run import run
from monitor.cli.reading import Reading
from monitor.cli.terminal.probes import print_panel, print_probes
from monitor.cli.wiring import opened_ledger, reviewer_of
from monitor.difficulty.probes import ProbeCandidate, forecast_trust, select_probes
from monitor.errors import UsageError
from monitor.evals.files import events_of_results
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.probes.panel import PanelRequest, chosen_panel, probe_histories, read_requests

probes = app.group("probes", "Choose a probe panel, run it on a model, and list what versions made of it.")

probes.command("run")(run)

_FORECAST_VERSIONS = (3, 6, 12)


@probes.command("select")
def select(
    files: list[str] | None = None,
    *,
    count: Annotated[int, typer.Option(min=1)] = 300,
    write: Path | None = None,
    reading: Reading,
    shared: options.Shared,
) -> None:
    """
    Choose the requests that say most about the tiers: informative at the cuts, spread over capabilities and families.

    A line of FILE is a native event or just its request (`request_id`, `capability`, `text`, `tools`, `attributes`).
    How hard they are comes from the calibration in force in the ledger that --ledger or --config.file names; without
    either, the panel is spread evenly. Replay the panel on past models and load the outcomes with `cliffwatch
    calibrate`; replay it on every new version as environment `probes`.

    Example: [bold]cliffwatch probes select requests.jsonl --count 300 --write panel.jsonl[/]

    Args:
        files (FILE...): Requests as JSON lines, or eval results, files or folders; - is stdin. Without one, the
            ledger's.
        count: Probes wanted.
        write (FILE): Write the panel here, one JSON line per probe.
    """
    config = shared.config()
    asked = reading.options()
    is_known = not files or shared.ledger is not None or shared.config_file is not None
    with opened_ledger(config, shared.ledger if is_known else IN_MEMORY_URL) as opened:
        calibration = reviewer_of(config, opened).calibration_in_force()
        if files:
            read = read_requests(files, config.limits, translate=lambda path: events_of_results(path, asked))
        else:
            read = [PanelRequest(ProbeCandidate(*each)) for each in opened.asked()], {}
    requests, skipped = read
    if not requests:
        raise UsageError("No request to choose from: give lines with a request_id, or with text or tools.")
    candidates, settings = [request.candidate for request in requests], config.difficulty
    chosen = select_probes(candidates, calibration, count=count)
    forecasts = [
        forecast_trust(candidates, chosen, calibration, versions=versions, settings=settings)
        for versions in _FORECAST_VERSIONS
    ]
    panel = chosen_panel(
        requests, chosen, calibration=calibration, forecasts=forecasts, skipped=skipped, settings=settings
    )
    if write is not None:
        with writing(write):
            lines = [json.dumps(probe, ensure_ascii=False) + "\n" for probe in panel.probes]
            write.write_text("".join(lines), encoding="utf-8")
    print_result(shared.output, panel, print_panel)


@probes.command("list")
def list_probes(*, shared: options.Shared) -> None:
    """
    Every probe that was run as environment `probes` or `reference`, with what each version made of it.

    Example: [bold]cliffwatch probes list --output json[/]
    """
    with opened_ledger(shared.config(), shared.ledger) as opened:
        histories = probe_histories(opened.probe_results())
    print_result(shared.output, histories, print_probes)
