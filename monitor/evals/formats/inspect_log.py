"""
Inspect AI logs: one JSON document, or a `.eval` archive whose summaries hold the scores.

Format: https://inspect.aisi.org.uk/eval-logs.html (log version 2).
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backports import zstd
from backports.zstd import zipfile
from pydantic import JsonValue

from monitor.evals.cases import Attempt, CaseKey
from monitor.evals.formats import reading
from monitor.evals.formats.reading import Format, Options, ResultFile, ResultFileInvalid
from monitor.trace.values import read_json

_LARGEST_MEMBER = 1024**3
_PIECE_BYTES = 4096
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstd.ZstdError, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, LookupError, OverflowError),  # encrypted or damaged
)


_HEADER, _SUMMARIES = "header.json", "summaries.json"
_START, _JOURNAL = "_journal/start.json", "_journal/summaries/"
_COMPARED_CHARACTERS = 1_000  # an archive's summaries cut longer questions


def is_inspect_log(document: Mapping[str, JsonValue]) -> bool:
    """Whether *document* is an Inspect AI log."""
    spec = document.get("eval")
    return isinstance(spec, dict) and "task" in spec and "model" in spec and "status" in document


def is_listing(document: Mapping[str, Any]) -> bool:
    """Whether *document* is Inspect AI's listing of several logs: their headers by name."""
    heads = [each if isinstance(each, dict) else {} for each in document.values()]
    return bool(heads) and all(is_inspect_log(head) or {"eval_id", "task"} <= head.keys() for head in heads)


def read_archive(name: str, content: bytes, options: Options) -> ResultFile:
    """
    The attempts of a `.eval` archive; of an interrupted run, those written so far.

    Raises:
        ChoiceMissing: the log lacks the score that an option names.
        ResultFileInvalid: it is not a log, or holds no sample.
    """
    damaged = reading.refused(_DAMAGES, f"{name} is a damaged archive", "use a complete copy of it")
    with damaged, zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        heads = [member for member in (_HEADER, _START) if member in names]
        if not heads:
            raise ResultFileInvalid(
                f"{name} is an archive, but not a log of Inspect AI; unpack it and name its folder, or save a "
                "spreadsheet as CSV."
            )
        journal = sorted(each for each in names if each.startswith(_JOURNAL))
        header = read_json(_member(name, archive, heads[0]) or b"{}")
        parts = [_SUMMARIES] if _SUMMARIES in names else journal
        samples = [sample for part in parts for sample in read_json(_member(name, archive, part) or b"[]")]
    return read_log(name, {**(header if isinstance(header, dict) else {}), "samples": samples}, options)


def _member(name: str, archive: zipfile.ZipFile, member: str) -> bytes:
    info = archive.getinfo(member)
    if info.file_size > reading.most_unfolded(info.compress_size):
        raise ResultFileInvalid(f"{name}: {member} decompresses to over {reading.LARGEST_RATIO} times its size.")
    if info.file_size > _LARGEST_MEMBER:
        raise ResultFileInvalid(f"{name}: {member} is larger than 1 GiB; write the log without attachments.")
    # In pieces, because zstd decompresses a whole member at once, even beyond the size that the archive gives for it.
    with archive.open(info) as opened:
        return b"".join(iter(lambda: opened.read(_PIECE_BYTES), b""))


def read_log(name: str, document: Mapping[str, Any], options: Options) -> ResultFile:
    """
    The attempts of a log in JSON.

    Raises:
        ChoiceMissing: the log lacks the score that an option names.
        ResultFileInvalid: it holds no sample.
    """
    spec, samples = document.get("eval") or {}, document.get("samples") or []
    if not samples:
        raise ResultFileInvalid(f"{name} is an Inspect AI log without samples; run the eval with --log-samples.")
    valid = [sample for sample in samples if not sample.get("invalidation")]
    scorers = options.preferring(_scorers(spec, valid))
    scorer, chose = reading.chosen(name, "score", options.metrics, scorers, "--metric") if scorers else ("", [])
    reader = reading.AttemptReader(name, options, scorer)
    return reader.result(
        Format.INSPECT,
        [_attempt(reader, spec, scorer, sample) for sample in valid],
        *_notes(str(document.get("status", "started")), len(samples), len(valid)),
        *chose,
        # A retry keeps the task's id and holds the samples of the run that it repeats.
        series=f"inspect {spec['task_id']}" if spec.get("task_id") else None,
        written=str(spec.get("created") or ""),
        outcomes=scorers,
    )


def _scorers(spec: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """Names of the samples' scores, in the order that the task declares; empty if no sample has one."""
    names = dict.fromkeys(name for sample in samples for name in _values(sample))
    declared = [str(scorer.get("name")) for scorer in spec.get("scorers") or []]
    in_order = [name for each in declared for name in names if _is_of(name, each)]
    return list(dict.fromkeys([*in_order, *names]))


def _is_of(name: str, scorer: str) -> bool:
    return name == scorer or name.startswith(f"{scorer}.")


def _scores(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scores of *sample* by name; the first log versions had a single score without a name."""
    single = sample.get("score")
    return sample.get("scores") or ({} if single is None else {"score": single})


def _values(sample: Mapping[str, Any]) -> Mapping[str, JsonValue]:
    """Every score value of *sample*; a dictionary gives one for each key, as `scorer.key`."""
    values: dict[str, JsonValue] = {}
    for name, score in _scores(sample).items():
        value = score.get("value") if isinstance(score, dict) else score
        values |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return values


def _attempt(reader: reading.AttemptReader, spec: Mapping[str, Any], scorer: str, sample: Mapping[str, Any]) -> Attempt:
    task = str(spec.get("task") or "")
    score = next((each for name, each in _scores(sample).items() if _is_of(scorer, name)), None)
    value = _values(sample).get(scorer)
    limit = _limit(sample)
    return reader.attempt(
        CaseKey(task, str(sample.get("id"))),
        reading.PARTLY if value == "P" else value,
        broken="error" if sample.get("error") else f"{limit} limit" if limit and value is None else None,
        question=_question(sample.get("input")),
        metadata=reader.facts(sample.get("metadata")),
        otherwise=task,
        failure=_failure(sample, score if isinstance(score, dict) else {}, limit),
        model=str(spec.get("model") or ""),
        repeat=str(sample.get("epoch", 1)),
        attempt_id=sample.get("uuid"),
    )


def _question(value: JsonValue) -> JsonValue:
    """The question of a sample, without message ids, which differ in each run."""
    if not isinstance(value, list):
        return value[:_COMPARED_CHARACTERS] if isinstance(value, str) else value
    messages = (message for message in value if isinstance(message, dict))
    texts = [f"{message.get('role')}: {_text(message.get('content'))}" for message in messages]
    return "\n".join(texts)[:_COMPARED_CHARACTERS]


def _text(content: JsonValue) -> str:
    if not isinstance(content, list):
        return str(content or "")
    parts = [str(part.get("text") or "") for part in content if isinstance(part, dict)]
    return "\n".join(part for part in parts if part)


def _failure(sample: Mapping[str, Any], score: Mapping[str, Any], limit: str | None) -> str | None:
    why = reading.shortened(score.get("explanation")) or reading.failure_of(score.get("answer"), sample.get("target"))
    return reading.shortened(" — ".join(part for part in (f"{limit} limit reached" if limit else None, why) if part))


def _limit(sample: Mapping[str, Any]) -> str | None:
    limit = sample.get("limit")
    return limit.get("type") if isinstance(limit, dict) else limit


def _notes(status: str, samples: int, valid: int) -> Iterator[str]:
    if samples > valid:
        yield f"{samples - valid:,} samples are marked invalid and are left out."
    if status != "success":
        yield f"The run ended as {status}: {valid:,} samples were written."
