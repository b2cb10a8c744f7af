"""`cliffwatch probes`: the panel that says most about the tiers, and what versions made of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from monitor.cli import options
from monitor.cli.app import app, print_result
from monitor.cli.probes_run import program, read_panel, run, write_lines
from monitor.cli.reading import Reading
from monitor.cli.terminal.console import say
from monitor.cli.terminal.probes import print_panel, print_probes
from monitor.cli.wiring import existing_ledger, opened_ledger, reviewer_of
from monitor.difficulty.probes import ProbeCandidate, select_probes
from monitor.errors import MonitorError, UsageError
from monitor.evals.files import events_of_results
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.output.plain import Json
from monitor.probes.panel import PanelRequest, chosen_panel, family, probe_histories, read_requests, refills, slot_pools
from monitor.probes.run import rewordings
from monitor.rollout.wording import counted, some_of
from monitor.trace.model import VARIANT_MARK

probes = app.group("probes", "Choose a probe panel, run it on a model, and list what versions made of it.")

probes.command("run")(run)

_DRAWS = 20


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
    chosen = select_probes([request.candidate for request in requests], calibration, count=count)
    panel = chosen_panel(requests, chosen, calibration=calibration, skipped=skipped, settings=config.difficulty)
    if write is not None:
        write_lines(write, panel.probes)
    print_result(shared.output, panel, print_panel)


@probes.command("variants")
def make_variants(
    panel: str,
    *,
    case: list[str] | None = None,
    count: Annotated[int, typer.Option(min=1)] = 4,
    seed: int = 0,
    exec_: str = "",
    parallel: Annotated[int, typer.Option(min=1, max=256)] = 4,
    timeout: Annotated[float, typer.Option(min=0.1)] = 300.0,
    write: Path | None = None,
    shared: options.Common,
) -> None:
    """
    Make a family of each case: the same request with other numbers, names and dates, or in other words.

    The dates, times, numbers and names of a text are slots, or what a line says in `template` and `slots`. They are
    filled from other cases of PANEL, of the same capability where these have enough, and replaced in `expected` too.
    With --exec, your program rewords each case instead: it reads the case's line with `variant` (1, 2, ...) and `seed`,
    and prints `text`, and `expected` where it differs.

    Each case is written with its variants, CASE/variant-1 and so on. Ask a model with `cliffwatch probes run`, and
    `cliffwatch report` shows what is brittle: cases that pass as written while their variants fail.

    Exit code 1 when your program leaves variants out.

    Example: [bold]cliffwatch probes variants panel.jsonl --count 8 --write families.jsonl[/]

    Args:
        panel (PANEL): Cases as JSON lines, as `probes select` and `cases export` write them.
        case (ID): Only this case; others still fill its slots. Repeatable.
        count: Variants of each case, at most.
        seed: The same seed makes the same variants of the same panel.
        exec_ (--exec COMMAND): Your paraphraser: a case in, a text out, as JSON.
        parallel: Cases that --exec is asked about at a time.
        timeout: Seconds that --exec has for one variant.
        write (FILE): Write here instead of standard output.
    """
    read = {str(each.candidate.features.item): each for each in read_panel(panel, shared.config())}
    cases = {name: each for name, each in read.items() if VARIANT_MARK not in name}
    if unknown := set(case or ()) - set(cases):
        raise UsageError(f"{panel} has no case {some_of(sorted(unknown))}; give a request_id that it has.")
    pools, stop, lost = slot_pools(cases.values()), Event(), list[str]()
    ask = program(exec_, timeout, stop) if exec_ else None

    def made(each: PanelRequest) -> Sequence[Json]:
        drawn = islice(refills(each, pools, seed=seed), _DRAWS * count)
        texts = drawn if ask is None else rewordings(each, ask, count=count, seed=seed, lost=lost)
        return list(family(each, texts, count))

    with ThreadPoolExecutor(parallel) as pool:
        try:
            chosen = (cases[name] for name in cases if not case or name in case)
            families = list((map if ask is None else pool.map)(made, chosen))  # threads only wait for programs
        finally:
            stop.set()
    write_lines(write, chain.from_iterable(families))
    alone = sum(len(lines) == 1 for lines in families)
    without = f"; {alone:,} without: no slot that another case can fill, see --exec" if alone and not exec_ else ""
    variants = counted(sum(map(len, families)) - len(families), "variant")
    say(f"{counted(len(families), 'case')}, {variants}{without}.", err=True)
    if lost:
        raise MonitorError(f"{len(lost):,} variants are missing; the last answer: {lost[-1]}. Try the program by hand.")


@probes.command("list")
def list_probes(*, shared: options.Shared) -> None:
    """
    Every probe that was run as environment `probes` or `reference`, with what each version made of it.

    Example: [bold]cliffwatch probes list --output json[/]
    """
    with existing_ledger(shared.config(), shared.ledger) as opened:
        histories = probe_histories(opened.probe_results())
    print_result(shared.output, histories, print_probes)
