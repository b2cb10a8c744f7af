"""Opens result files and folders, as results or as native events; the only part of the report that reads files."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from os.path import isdir
from pathlib import Path, PurePath
from typing import Any, TextIO, cast

from monitor.errors import UsageError, os_errors
from monitor.evals.cases import Attempt, request_of
from monitor.evals.formats import reading
from monitor.evals.formats.detect import READ_FORMATS, holds_results, read_content
from monitor.evals.formats.documents import bfcl_result_files
from monitor.evals.formats.reading import ChoiceAbsent, Options, ResultFile, ResultFileInvalid
from monitor.ingest.file import STANDARD_INPUT, is_piped
from monitor.ingest.lines import CORRUPTED, decompressed
from monitor.rollout.wording import some_of
from monitor.trace.labels import clean_label
from monitor.trace.model import REFERENCE_ENVIRONMENT, hash_of
from monitor.trace.values import read_json

_APART = timedelta(microseconds=1)  # between start times, so that they keep the order of the file


_ENDINGS = (".eval", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".yaml", ".yml", ".xml", ".parquet")
_LARGEST_BYTES = 2 * 1024**3
_OTHER_SHAPE = (AttributeError, IndexError, KeyError, TypeError)  # a list for an object, or a number for a text


ReadProgress = Callable[[int], object]
"""Called with the number of attempts read since the last call."""


def read_results(paths: Sequence[str], options: Options, progress: ReadProgress) -> Sequence[ResultFile]:
    """
    Reads *paths*: of a folder every result file below it, and of several files of one run the latest.

    In a folder, the columns and metrics of *options* apply to the files that have them; at least one file must.

    Args:
        paths: Files and folders; `-` is standard input.
        options: How to read results.
        progress: Called after each file.

    Raises:
        UsageError: a file cannot be opened.
        ChoiceMissing: no file has what an option names, or an option is needed.
        ResultFileInvalid: a named file, or every file of a named folder, holds no results.
    """
    results: list[ResultFile] = []
    for path in paths:
        if path != STANDARD_INPUT and isdir(path):  # noqa: PTH112  (the other one raises for a name that is too long)
            results += _read_folder(Path(path), options, progress)
        else:
            results.append(_read(path, options, progress))
    return _latest(results)


def _latest(results: Sequence[ResultFile]) -> Sequence[ResultFile]:
    """*results* without those that a later file of the same run replaces."""
    last = {result.series: result for result in sorted(results, key=lambda each: each.written)}
    latest = [result for result in results if result.series is None or last[result.series] is result]
    replaced = len(results) - len(latest)
    if not replaced:
        return results
    note = f"{replaced:,} older files of the same run were left out."
    return [replace(latest[0], notes=(*latest[0].notes, note)), *latest[1:]]


def _read_folder(folder: Path, options: Options, progress: ReadProgress) -> Sequence[ResultFile]:
    skipped: list[tuple[Path, UsageError]] = []
    results: list[ResultFile] = []
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)  # an older copy, mostly
        name = path.name.casefold().removesuffix(".zst").removesuffix(".gz")
        if is_hidden or not path.is_file() or not name.endswith(_ENDINGS):
            continue
        try:
            results.append(_read(str(path), options, progress))
        except (ResultFileInvalid, ChoiceAbsent) as refused:
            skipped.append((path, refused))  # a folder holds other things too: settings, totals, caches
    if not results:
        none = ResultFileInvalid(f"{folder} holds no result file; what is read: {READ_FORMATS}.")
        raise min((each for _, each in skipped), key=lambda each: not isinstance(each, ChoiceAbsent), default=none)
    if skipped:
        note = f"Left out, because they contain no readable results: {some_of([path.name for path, _ in skipped])}."
        results[0] = replace(results[0], notes=(*results[0].notes, note))
    return results


def events_of_results(path: str, options: Options) -> Iterable[bytes] | None:
    """
    The eval results at *path*, a file or a folder, as native events; None for events or requests, and for any pipe.

    Raises:
        UsageError: the file cannot be opened.
        ResultFileInvalid: it is damaged, or holds nothing that can be read.
    """
    if is_piped(path):  # what has been looked at could not be read again
        return None
    if not isdir(path):  # noqa: PTH112  (the other one raises for a name that is too long)
        is_result = holds_results(_content(path, at_most=1024**2))  # a file of events may not fit into memory
        if not (holds_results(_content(path)) if is_result is None else is_result):
            return None
    results = read_results([path], options, lambda _: None)
    written = ((result, datetime.fromtimestamp(Path(result.name).stat().st_mtime, UTC)) for result in results)
    return chain.from_iterable(as_events(result, written_at=at) for result, at in written)


def _read(path: str, options: Options, progress: ReadProgress) -> ResultFile:
    with_cases = replace(options, case_ids=_bfcl_cases(path))
    with reading.refused(_OTHER_SHAPE, f"{path} has another shape than its tool gives it", "write it again, or as CSV"):
        result = read_content(path, _content(path), with_cases)
    progress(len(result.attempts))
    return result


def _bfcl_cases(path: str) -> Sequence[str]:
    """Case ids from the result file beside a BFCL score file; none for any other file."""
    if "_score.json" not in path:
        return ()
    beside = next((file for file in map(Path, bfcl_result_files(PurePath(path))) if file.is_file()), None)
    try:
        return () if beside is None else [str(read_json(line)["id"]) for line in _content(str(beside)).splitlines()]
    except (KeyError, TypeError, ValueError) as error:
        raise ResultFileInvalid(f"{beside} does not name a case in each line; write it again.") from error


def _content(path: str, *, at_most: int = _LARGEST_BYTES + 1) -> bytes:
    cannot = os_errors(UsageError, f"{Path(path).absolute()} cannot be read", "check the name.")
    with cannot, reading.refused(CORRUPTED, f"{path} is damaged", "use a complete copy of it"):
        read, size = (_of_pipe, _LARGEST_BYTES) if is_piped(path) else (_bytes, Path(path).stat().st_size)
        most = min(_LARGEST_BYTES, reading.most_unfolded(size))
        content = read(path, min(at_most, most + 1), sys.stdin)
    if most < len(content) <= _LARGEST_BYTES:
        raise ResultFileInvalid(f"{path} decompresses to over {reading.LARGEST_RATIO} times its size; unpack it.")
    if len(content) > _LARGEST_BYTES:
        raise ResultFileInvalid(f"{path} is larger than 2 GiB; split it into several files.")
    return content


def _bytes(path: str, most: int, stdin: TextIO) -> bytes:
    piped = cast("io.BufferedReader", stdin.buffer) if path == STANDARD_INPUT else None
    with piped or Path(path).open("rb") as stream:
        return decompressed(stream).read(most)


_of_pipe = lru_cache(_bytes)  # a pipe can be read only once, but a side may be read again


def as_events(result: ResultFile, *, written_at: datetime) -> Iterator[bytes]:
    """
    Every attempt of *result* as one native event in JSON.

    The same attempt gives the same trace id whenever it is read, so that it counts once in a ledger.

    Args:
        result: Content of a result file.
        written_at: When the file was written, used if its content does not say.
    """
    started_at = _time_of(result.written) or written_at
    times: Counter[tuple[object, ...]] = Counter()
    for attempt in result.attempts:
        key, model = attempt.key, attempt.model or PurePath(result.name).stem
        names = (model, key.task, key.case_id, attempt.repeat or "")
        times[names] += 1
        yield _event(attempt, (*names, attempt.attempt_id or times[names]), started_at)
        started_at += _APART


def _event(attempt: Attempt, names: Sequence[object], started_at: datetime) -> bytes:
    request = request_of(attempt.key, attempt.capability, attempt.input_text)
    event: dict[str, Any] = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": hash_of(*names, size=16),
        "service": "evals",
        "environment": REFERENCE_ENVIRONMENT,
        "model_version": clean_label(str(names[0])) or "unnamed",
        "capability": request.capability,
        "request_id": request.request_id,
        "started_at": started_at.isoformat(),
        "request": {} if request.text is None else {"text": request.text},
    }
    if attempt.passed is not None:
        event["outcome"] = {"success": attempt.passed, "source": "judge"}
    return json.dumps(event).encode()


def _time_of(written: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
