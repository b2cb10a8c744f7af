"""`cliffwatch probes`: choose a panel, run it on a model, make variants, and list results."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from threading import Event
from typing import Annotated

import httpx
import typer

from monitor.cli import options
from monitor.cli.app import EXIT_PROBLEM, app, print_result, writing
from monitor.cli.reading import Reading
from monitor.cli.terminal.console import say, waiting
from monitor.cli.terminal.probes import print_panel, print_probes, print_run, run_line
from monitor.cli.wiring import existing_ledger, opened_ledger, reviewer_of
from monitor.clock import WallClock
from monitor.config.model import Config
from monitor.difficulty.probes import ProbeCandidate, select_probes
from monitor.errors import MonitorError, UsageError
from monitor.evals.files import events_of_results
from monitor.ingest.kafka_client import send_all
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.output.plain import Json, fields_of
from monitor.probes.agents import ask_chat, ask_program
from monitor.probes.journal import opened_journal
from monitor.probes.panel import PanelRequest, chosen_panel, family, probe_histories, read_requests, refills, slot_pools
from monitor.probes.run import Ask, Limit, Run, rewordings
from monitor.rollout.wording import counted, some_of
from monitor.trace.labels import clean_label
from monitor.trace.model import VARIANT_MARK

probes = app.group("probes", "Choose a probe panel, run it on a model, and list the results of each version.")

_DRAWS = 20
_PLAIN_SECONDS = 10.0
"""Time between two lines of progress if there is no terminal."""


@probes.command("run")
def run(
    panel: str,
    *,
    model: str,
    exec_: str = "",
    openai_base_url: str = "",
    grade_exec: str = "",
    success_field: str = "success",
    write: Path | None = None,
    to_kafka: str = "",
    service: str = "probes",
    parallel: Annotated[int, typer.Option(min=1, max=256)] = 4,
    timeout: Annotated[float, typer.Option(min=0.1)] = 300.0,
    max_cost: Annotated[float | None, typer.Option(min=0)] = None,
    max_probe_cost: Annotated[float, typer.Option(min=0)] = 0.0,
    price: str = "",
    shared: options.Common,
    output: options.Output = options.OutputFormat.TABLE,
) -> None:
    """
    Run every probe of a panel once on a model, and write the results as events, ready for `cliffwatch calibrate`.

    The agent reads one JSON object: `request_id`, `capability`, `model` and `request` (`text`, `tools`, `attributes`).
    It prints one: `success`, and if it knows them `failure_class`, `score`, `usage` (`input_tokens`, `output_tokens`,
    `cost_usd`), `tool_calls`, `steps`. With --grade-exec, a second program reads the question with `probe` (the
    panel's line, including `expected`) and the agent's `result`, and prints `success`.

    A crash, a timeout, output that is not JSON or is over 4 MiB count as failures, each with its own failure class.
    Exit code 75 and a busy endpoint do not; the next run tries again. You can stop the command at any time: run it
    again to continue. Each probe produces one event.

    Exit code 0: every probe has an answer. 1: the spending limit or a broken agent left some without. 3: the agent does
    not answer at all.

    Example: [bold]cliffwatch probes run panel.jsonl --model gpt-4-0613 --exec 'python my_agent.py' --max-cost 20[/]

    Args:
        panel (PANEL): Probes as JSON lines (`probes select --write`).
        model (NAME): The model version that answers, pinned.
        exec_ (--exec COMMAND): Your agent: reads a question and prints a result, as JSON.
        openai_base_url (URL): Address of a chat model; put the key into OPENAI_API_KEY.
        grade_exec (COMMAND): Your grader: says whether a result passes. A chat model needs one.
        success_field (NAME): Field of a result that says whether it passes.
        write (FILE): Write the events here; by default, to probes-MODEL.jsonl.
        to_kafka (TOPIC): Also send the events to the config's brokers.
        service (NAME): The service that the probes belong to, as its traces name it.
        parallel: Number of probes to run at a time.
        timeout: Time limit for one answer, and for one grade, in seconds.
        max_cost (USD): Spending limit over all runs of FILE.
        max_probe_cost (USD): Cost to reserve for one probe; by default, the highest so far.
        price (IN,OUT): Price of a chat model, USD per million tokens.
    """
    config = shared.config()
    if bool(exec_) == bool(openai_base_url):
        raise UsageError("Say who answers: --exec COMMAND or --openai-base-url URL.")
    if openai_base_url and not grade_exec:
        raise UsageError("Only a grader says whether a chat model's answer passes; give --grade-exec COMMAND.")
    if max_cost is not None and not (exec_ or price or max_probe_cost):
        raise UsageError("Give --price IN,OUT (USD for a million tokens), so that --max-cost can hold.")
    labels = {"service": label(service), "model_version": label(model)}
    probes = read_panel(panel, config, needs_text=not exec_)
    path = write or Path(f"probes-{re.sub('[^A-Za-z0-9._-]', '-', model)}.jsonl")
    stop = Event()
    grade = program(grade_exec, timeout, stop) if grade_exec else None
    ask = program(exec_, timeout, stop) if exec_ else _chat(openai_base_url, _prices(price), timeout, stop)
    clock = WallClock()
    began = clock.monotonic()
    asking = waiting(f"Asking {counted(len(probes), 'probe')}", every_seconds=_PLAIN_SECONDS)
    with opened_journal(path, labels) as journal, asking as show:
        whole = Run(ask, grade, success_field, labels, journal, clock, stop, Limit(max_cost, max_probe_cost), parallel)
        progress = whole.of(probes, lambda now: show(run_line(now, clock.monotonic() - began)))
    if to_kafka:  # all events, also those sent before: duplicates count once
        events = [(json.loads(line)["trace_id"], line) for line in path.read_bytes().splitlines()]
        send_all(to_kafka, events, config.kafka, most_bytes=2 * config.limits.max_record_bytes)
    result = {"file": str(path), "answered": progress.answered} | fields_of(progress)
    print_result(output, result, print_run, progress, path)
    if progress.answered < progress.probes:
        raise typer.Exit(EXIT_PROBLEM)


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
    Choose the requests that tell you most about the tiers: near the cuts, spread over capabilities and families.

    A line of FILE is a native event or only its request (`request_id`, `capability`, `text`, `tools`, `attributes`).
    The calibration in force in the ledger (--ledger or --config.file) says how hard the requests are; without a ledger,
    the panel is spread evenly. Run the panel on past models and load the outcomes with `cliffwatch calibrate`; run it
    on every new version as environment `probes`.

    Example: [bold]cliffwatch probes select requests.jsonl --count 300 --write panel.jsonl[/]

    Args:
        files (FILE...): Requests as JSON lines, or eval results, files or folders; - is stdin. By default, the
            ledger's requests.
        count: Number of probes.
        write (FILE): Write the panel here, one JSON line per probe.
    """
    config = shared.config()
    results = reading.options()
    is_known = not files or shared.ledger is not None or shared.config_file is not None
    with opened_ledger(config, shared.ledger if is_known else IN_MEMORY_URL) as opened:
        calibration = reviewer_of(config, opened).calibration_in_force()
        if files:
            read = read_requests(files, config.limits, translate=lambda path: events_of_results(path, results))
        else:
            read = [PanelRequest(ProbeCandidate(*item)) for item in opened.items()], {}
    requests, skipped = read
    if not requests:
        raise UsageError("No request to choose from: give lines with a request_id, or with text or tools.")
    candidates = [request.candidate for request in requests]
    chosen = select_probes(candidates, calibration, count=count, settings=config.difficulty)
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
    Write variants of each case: the same request with other numbers, names and dates, or in other words.

    Slots are the dates, times, numbers and names of a text, or those that a line sets in `template` and `slots`. They
    get values from other cases of PANEL, of the same capability if these have enough, in `expected` as well. With
    --exec, your program rewords each case instead: it reads the case's line with `variant` (1, 2, ...) and `seed`, and
    prints `text`, and `expected` if it differs.

    The output has each case and its variants, CASE/variant-1 and so on. Run them with `cliffwatch probes run`;
    `cliffwatch report` then shows which cases are brittle: they pass as written, but their variants fail.

    Exit code 1 when your program leaves variants out.

    Example: [bold]cliffwatch probes variants panel.jsonl --count 8 --write families.jsonl[/]

    Args:
        panel (PANEL): Cases as JSON lines, as `probes select` and `cases export` write them.
        case (ID): Only this case; the other cases still fill its slots. Repeatable.
        count: Largest number of variants for each case.
        seed: The same seed makes the same variants of the same panel.
        exec_ (--exec COMMAND): Your paraphraser: reads a case and prints a text, as JSON.
        parallel: Cases that --exec rewords at a time.
        timeout: Time limit of --exec for one variant, in seconds.
        write (FILE): Write here instead of standard output.
    """
    read = {str(line.candidate.features.item): line for line in read_panel(panel, shared.config())}
    cases = {name: line for name, line in read.items() if VARIANT_MARK not in name}
    if unknown := set(case or ()) - set(cases):
        raise UsageError(f"{panel} has no case {some_of(sorted(unknown))}; give a request_id that it has.")
    pools, stop, lost = slot_pools(cases.values()), Event(), list[str]()
    ask = program(exec_, timeout, stop) if exec_ else None

    def make_family(original: PanelRequest) -> Sequence[Json]:
        drawn = islice(refills(original, pools, seed=seed), _DRAWS * count)
        texts = drawn if ask is None else rewordings(original, ask, count=count, seed=seed, lost=lost)
        return list(family(original, texts, count))

    with ThreadPoolExecutor(parallel) as pool:
        try:
            chosen = (cases[name] for name in cases if not case or name in case)
            families = list((map if ask is None else pool.map)(make_family, chosen))  # threads help only with --exec
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
    List every probe that ran as environment `probes` or `reference`, with the result of each version.

    Example: [bold]cliffwatch probes list --output json[/]
    """
    with existing_ledger(shared.config(), shared.ledger) as opened:
        histories = probe_histories(opened.probe_results())
    print_result(shared.output, histories, print_probes)


def label(name: str) -> str:
    """
    Return *name* if it is a valid label value.

    Raises:
        UsageError: it is not.
    """
    if clean_label(name) != name:
        raise UsageError(f"{name!r} cannot be a label: use letters, digits and ._:/@+- only.")
    return name


def read_panel(panel: str, config: Config, *, needs_text: bool = False) -> Sequence[PanelRequest]:
    """
    The requests of a file, each once; prints what is skipped.

    Raises:
        UsageError: it has none, or one without text although each *needs_text*.
    """
    probes, skipped = read_requests([panel], config.limits)
    for reason, lines in skipped.items():
        say(f"{panel}: {counted(lines, 'line')} skipped, {reason}.", err=True)
    if not probes:
        raise UsageError(f"{panel} holds no probe: give lines with a request_id, or with text or tools.")
    without = sum(probe.request is None or not probe.request.text for probe in probes)
    if needs_text and without:
        raise UsageError(f"{without:,} probes of {panel} have no text to ask a chat model; use --exec, or add it.")
    return probes


def write_lines(path: Path | None, documents: Iterable[Json]) -> None:
    """Write *documents* as JSON lines to the file at *path*, or to standard output."""
    dumps = partial(json.dumps, ensure_ascii=path is None, allow_nan=False)
    lines = "".join(dumps(document) + "\n" for document in documents)
    if path is None:
        say(lines.replace("##", "#\\u0023"), nl=False)  # a CI runner could take ## for a command
        return
    with writing(path):
        path.write_text(lines, encoding="utf-8")


def program(command: str, timeout: float, stop: Event) -> Ask:
    """
    An agent, grader or paraphraser that runs *command*, with *timeout* seconds per answer.

    Raises:
        UsageError: *command* is empty or malformed.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--exec and --grade-exec need a command: {error}.") from error
    if not words:
        raise UsageError("--exec and --grade-exec need a command; name a program.")
    return partial(ask_program, words, timeout_seconds=timeout, stop=stop)


def _chat(base_url: str, prices: tuple[float, float] | None, timeout: float, stop: Event) -> Ask:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        unlimited = httpx.Limits(max_connections=None)  # --parallel is the limit
        client = httpx.Client(base_url=base_url, headers=headers, timeout=timeout, limits=unlimited)
    except (httpx.InvalidURL, UnicodeEncodeError):  # the message quotes neither, since both may contain a secret
        raise UsageError("--openai-base-url or OPENAI_API_KEY cannot be used; check both.") from None
    if client.base_url.scheme not in {"http", "https"} or not client.base_url.host:
        raise UsageError("--openai-base-url is not an address; give one such as https://api.openai.com/v1.")
    return partial(ask_chat, client=client, prices=prices, stop=stop)


def _prices(price: str) -> tuple[float, float] | None:
    if not price:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)", price)
    if match is None:
        raise UsageError(f"--price {price} is not IN,OUT; give USD for a million tokens, such as 2.5,10.")
    return float(match[1]), float(match[2])
