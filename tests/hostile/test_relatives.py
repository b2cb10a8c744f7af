"""Relatives of the cases: names, files and texts of the same kinds."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import stat
import subprocess
import sys
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from monitor.cli.app import run_command
from monitor.cli.terminal.console import Console, harmless
from monitor.config.file import parse_config_file
from monitor.config.model import load_config
from monitor.errors import ConfigInvalid
from monitor.evals.formats.inspect_log import read_archive
from monitor.evals.formats.reading import Options, ResultFileInvalid
from monitor.ledger.labels import SERIES_OF_CAPABILITY, SERIES_OF_FAILURE_CLASS, SERIES_OF_VERSION, has_room
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.sql import SqlLedger
from monitor.metrics.exposition import choose_format
from monitor.web.settings import WebSettings
from tests.builders import a_batch, a_trace, tagged

CASES = Path(__file__).parent / "cases"
SECURITY = (Path(__file__).parents[2] / "SECURITY.md").read_text()


@pytest.mark.slow
@given(st.lists(st.integers(1, 200), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_names_of_some_services_leave_room_for_others(greedy: list[int], dice: random.Random) -> None:
    """However many versions a few services name, in whatever order, the next ones have theirs."""
    settings, taken = LedgerSettings(), Counter[str]({"other": SERIES_OF_VERSION})
    asking = [f"evil{number} production" for number, versions in enumerate(greedy) for _ in range(versions)]
    dice.shuffle(asking)

    for pair in asking:
        if has_room(taken, pair, SERIES_OF_VERSION, settings):
            taken[pair] += SERIES_OF_VERSION

    assert taken.total() <= settings.max_series
    assert all(has_room(taken, f"honest{number} production", SERIES_OF_VERSION, settings) for number in range(5))


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=800), st.integers(1, 5))
def test_services_without_end_take_no_place_from_those_that_are_there(
    asking: list[tuple[int, bool]], known: int
) -> None:
    """Each that was admitted has its next versions, whoever came in between."""
    settings, taken = LedgerSettings(), Counter[str]({"other": SERIES_OF_VERSION})
    honest = [f"honest{number} production" for number in range(known)]
    for pair in [*honest, *(f"evil{number} {again}" for number, again in asking), *(f"late{n} x" for n in range(300))]:
        if has_room(taken, pair, SERIES_OF_VERSION, settings):
            taken[pair] += SERIES_OF_VERSION

    for pair in honest * 3:
        assert has_room(taken, pair, SERIES_OF_VERSION, settings)
        taken[pair] += SERIES_OF_VERSION
    assert taken.total() <= settings.max_series


def test_every_threat_names_its_tests() -> None:
    """Each row of the security policy says who tries what, what stops it, tests that are there, and what is left."""
    root = Path(__file__).parents[2]
    rows = [row.strip("| ").split(" | ") for row in SECURITY.splitlines() if row.startswith("| ")]
    threats = [row for row in rows if row[2:3] != ["tests"]]
    tests = [path for row in threats for path in re.findall("`(tests/[^`]+)`", row[2])]

    assert 20 < len(threats)
    assert {3, 4} >= {len(row) for row in threats}  # an empty last cell is nothing left
    assert not [row for row in threats if not re.search("`tests/", row[2])]
    assert [] == [path for path in tests if not (root / path).exists()]


def test_the_numbers_in_the_security_policy_are_those_of_the_code() -> None:
    """Series of a version, a class, a failure class, of what is set aside, and how many there can be."""
    most = LedgerSettings().max_series
    taken = Counter[str]({"other": SERIES_OF_VERSION})
    for number in range(1_000):
        if has_room(taken, f"s{number} x", SERIES_OF_VERSION, LedgerSettings()):
            taken[f"s{number} x"] += SERIES_OF_VERSION

    for sentence in (
        f"{SERIES_OF_VERSION} for a model version of one service and environment",
        f"{SERIES_OF_CAPABILITY} for each further capability",
        f"{SERIES_OF_FAILURE_CLASS} for each failure class",
        f"at most {most // SERIES_OF_VERSION} versions if each has one capability",
        f"reserves room for four versions ({4 * SERIES_OF_VERSION:,} series)",
        f"at most {len(taken) - 1} services and environments",
    ):
        assert sentence in SECURITY


def test_a_candidate_is_seen_beside_a_thousand_services() -> None:
    """What stood in the way of the long run: services of one version each had used up the budget before it came."""
    ledger = SqlLedger("sqlite://")
    ledger.record(a_batch(tagged(a_trace("first", service="shop", model_version="m-1"))))
    for number in range(0, 1_000, 50):
        traces = [a_trace(f"t{n}", service=f"evil{n}", model_version="m-1") for n in range(number, number + 50)]
        ledger.record(a_batch(*map(tagged, traces)))
    ledger.record(a_batch(tagged(a_trace("last", service="shop", model_version="m-2"))))

    named = {(version.service, version.model_version) for version in ledger.activity()}
    ledger.close()
    assert {("shop", "m-1"), ("shop", "m-2")} <= named


@pytest.mark.slow
def test_a_service_keeps_its_place_beside_one_that_names_without_end() -> None:
    """A candidate that comes after hundreds of names of others is counted under its own."""
    ledger = SqlLedger("sqlite://")
    ledger.record(a_batch(tagged(a_trace("first", service="shop", model_version="m-1"))))
    for number in range(700):
        hostile = a_trace(f"t{number}", service=f"evil{number // 250}", model_version=f"m-{number}")
        ledger.record(a_batch(tagged(hostile)))
    ledger.record(a_batch(tagged(a_trace("last", service="shop", model_version="m-2"))))
    ledger.record(a_batch(tagged(a_trace("new", service="new", model_version="m-1"))))

    named = {(version.service, version.model_version) for version in ledger.activity()}
    ledger.close()
    assert {("shop", "m-1"), ("shop", "m-2"), ("new", "m-1")} <= named


_CONTROLS = [
    "\x1b[31m",
    "\x1b]8;;http://evil\x07",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\x00",
    "\x7f",
    "\r",
    "\n",
    "\x85",
    "\u2028",
]
_COMMANDS = [
    "::error::",
    "::set-output name=x::",
    "##[error]",
    "##vso[task.complete]",
    "##teamcity[x]",
    "[red]",
    "[link=x]",
]
_UNSAFE = st.sampled_from([*_CONTROLS, *_COMMANDS, " "])


@given(st.lists(_UNSAFE | st.text(), max_size=8).map("".join))
def test_nothing_that_is_printed_is_more_than_text(text: str) -> None:
    """On a console or without one, whatever a name or an answer holds."""
    written = io.StringIO()
    console = Console(file=written, width=200)

    console.print(text, markup=False, highlight=False, soft_wrap=True)

    for shown in (written.getvalue(), harmless(text)):
        assert all(line.replace("\t", " ").isprintable() for line in shown.split("\n"))
        assert not any(line.lstrip().startswith("::e") or line.lstrip().startswith("::s") for line in shown.split("\n"))
        assert "##[" not in shown
        assert "##vso[" not in shown


@given(st.integers(0, 2**32))
def test_a_damaged_archive_is_one_sentence(seed: int) -> None:
    """Whichever bytes are wrong, reading it says so or reads what is left, and nothing else is raised."""
    dice, content = random.Random(seed), bytearray((CASES / "zlib.eval").read_bytes())
    for _ in range(dice.randrange(1, 8)):
        content[dice.randrange(len(content))] = dice.randrange(256)
    if dice.random() < 0.3:
        del content[dice.randrange(len(content)) :]

    try:
        read_archive("a.eval", bytes(content), Options())
    except ResultFileInvalid as refused:
        said = str(refused)
    else:
        said = ""
    assert "\n" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bomb.eval", "bomb.json.gz", "bomb.csv.gz"])
def test_a_folded_bomb_is_not_unfolded(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results fold to a tenth or so; what unfolds to hundreds of times its size is none."""
    bomb, path = b"0" * 80_000_000, tmp_path / name
    if name.endswith(".eval"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", bomb)
    else:
        path.write_bytes(gzip.compress(bomb))

    assert 2 == run_command(["report", str(path), str(path)])
    assert "decompresses to over 200 times its size" in " ".join(capsys.readouterr().err.split())


def _lying_archive() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("samples/1_epoch_1.json", " " * 60_000_000)
    return written.getvalue().replace((60_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))


_FARTHEST_WINDOW = bytes([0x28, 0xB5, 0x2F, 0xFD, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00])
_DEEP = b"[" * 100_000 + b"]" * 100_000
_LONG_NUMBER = b"9" * 5_000
_YAML_LEVELS = "bcdefghijkl"


def _yaml_of(level: str) -> bytes:
    """Each level holds nine of the one before; written in full, there would be more values than memory holds."""
    above = "abcdefghijk"
    levels = (level.format(of=of, name=name) for of, name in zip(above, _YAML_LEVELS, strict=True))
    return "\n".join(["a: &a {id: x, score: 1}", *levels]).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("a.eval", _lying_archive(), id="a zip that lies about its sizes"),
        pytest.param("a.jsonl.zst", _FARTHEST_WINDOW, id="zstd that looks back 2 GiB"),
        pytest.param("a.jsonl.zst", zstandard.compress(b"0" * 80_000_000), id="zstd that unfolds to a bomb"),
        pytest.param("a.jsonl.zst", b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + b"x" * 99, id="zstd that skips 4 GiB"),
        pytest.param("a.jsonl.gz", gzip.compress(b"") * 20_000, id="gzip of many empty members"),
        pytest.param("a.jsonl.gz", gzip.compress(gzip.compress(b"0" * 10**7)), id="gzip in gzip"),
        pytest.param("a.jsonl.gz", gzip.compress(b"{}\n" * 999)[:-9], id="gzip that breaks off"),
        pytest.param("a.csv", b'id,score\n"' + b"x" * 200_000 + b'",1\n', id="a cell of 200,000 characters"),
        pytest.param("a.csv", b"x" * 200_000 + b",1\n", id="a header of 200,000 characters"),
        pytest.param("a.csv", b'id,score\n"a,1\n' + b"b,1\n" * 9_999, id="a quote that never ends"),
        pytest.param("a.csv", b"id,score\na\x00b,1\n", id="NUL in a cell"),
        pytest.param("a.csv", b"\xff\xfei\0d\0,\0s", id="UTF-16 that breaks off"),
        pytest.param("a.jsonl", b'{"id": "a", "score": ' + _LONG_NUMBER + b"}", id="a number of 5,000 digits"),
        pytest.param("a.json", b'[{"id": "a", "score": ' + _LONG_NUMBER + b"}]", id="the same in one document"),
        pytest.param("a.jsonl", b'{"id": "a", "score": 1, "x": ' + _DEEP + b"}", id="nested in a line"),
        pytest.param("a.json", _DEEP, id="nested all the way"),
        pytest.param("a.jsonl", b'{"id": "\\ud800", "score": 1}', id="half a character"),
        pytest.param("a.jsonl", b'{"id": "a", "score": NaN}\n{"id": "b", "score": 1e999}', id="numbers beyond all"),
        pytest.param("a.yaml", b"a: &a [" + b"*a," * 9_999 + b"]", id="YAML of aliases"),
        pytest.param("a.yaml", b"a: &a\n  id: x\n  score: 1\n  again: *a\n", id="YAML that contains itself"),
        pytest.param(
            "a.yaml",
            _yaml_of("{name}: &{name} {{" + ", ".join(f"k{n}: *{{of}}" for n in range(9)) + "}}"),
            id="YAML of aliases of mappings",
        ),
        pytest.param(
            "a.yaml",
            _yaml_of("{name}: &{name} {{<<: [" + ", ".join(["*{of}"] * 9) + "]}}"),
            id="YAML of merges of merges",
        ),
        pytest.param("a.yaml", b"- id: a\n  score: 1\n  on: 2026-02-30\n", id="YAML with a day that no month has"),
        pytest.param("a.yaml", b"- id: a\n  score: " + _LONG_NUMBER, id="YAML with a number of 5,000 digits"),
        pytest.param("a.xml", b"<?xml version='1.0' encoding='utf-7'?><testsuite/>", id="XML in UTF-7"),
        pytest.param("a.xml", b"<?xml version='1.0' encoding='x'?><testsuite/>", id="XML in letters of its own"),
        pytest.param("a.jsonl", b'{"id": "' + b"x" * 10**6 + b'", "score": 1}', id="a name of a million letters"),
        pytest.param(
            "a.csv",
            b"id,model,score\n" + b"".join(b"a,model-%d,1\n" % n for n in range(9_999)),
            id="models by the thousand",
        ),
    ],
)
def test_a_careless_file_is_one_sentence(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with results: exit code 2, a sentence that is not long, no traceback; and no bomb unfolds."""
    path, good = tmp_path / name, tmp_path / "good.jsonl"
    path.write_bytes(content)
    good.write_text('{"id": "x", "score": 1.0}\n{"id": "y", "score": 0.0}\n')

    assert 2 == run_command(["report", str(good), str(path)])
    said = capsys.readouterr().err
    assert 20 < len(said) < 3_000
    assert all(line.isprintable() for line in said.splitlines())


@pytest.mark.parametrize("place", [0, 1])
def test_a_name_that_no_file_can_have_is_one_sentence(
    place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unquoted glob, or the results themselves, in place of the name of a file."""
    good = tmp_path / "good.jsonl"
    good.write_text('{"id": "x", "score": 1.0}\n')
    names = [str(good), str(good)]
    names[place] = "x" * 5_000

    assert 2 == run_command(["report", *names])
    assert "cannot be read: File name too long; check the name." in capsys.readouterr().err


def test_what_can_be_read_only_once_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where ids are drawn anew, a side is read again by its question; a pipe gives what it holds only once."""
    sides = {side: f"uid,question,passed\n{side}1,q1,1\n{side}2,q2,0\n".encode() for side in "xy"}
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    file.write_bytes(sides["y"])
    os.mkfifo(pipe)
    writing = Thread(target=pipe.write_bytes, args=(sides["x"],))
    writing.start()

    assert 0 == run_command(["report", str(pipe), str(file), "--output", "json"])
    assert 2 == json.loads(capsys.readouterr().out)["aggregate"]["cases"]
    writing.join()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(sides["x"]))))
    assert 0 == run_command(["report", "-", str(file), "--output", "json"])
    assert 2 == json.loads(capsys.readouterr().out)["aggregate"]["cases"]
    assert 2 == run_command(["report", "-", "-"])
    assert "name a file for the other" in capsys.readouterr().err


def test_letters_that_a_terminal_does_not_have_are_no_traceback(tmp_path: Path) -> None:
    """The exit code of one is that of a closed gate."""
    good = tmp_path / "good.jsonl"
    good.write_text('{"id": "\u00e9", "score": 1.0}\n')
    command = [sys.executable, "-c", "from monitor.cli import main; main()", "report", str(good), str(good)]

    done = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert (0, b"") == (done.returncode, done.stderr)
    assert rb"good.jsonl \u2192 good.jsonl" in done.stdout


@pytest.mark.parametrize(("option", "code"), [("--gate", 2), ("--config.file", 1)])
def test_settings_without_an_end_are_one_sentence(
    option: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device, or a dump that was named by mistake, is not read until memory is full."""
    good = tmp_path / "good.jsonl"
    good.write_text('{"id": "x", "score": 1.0}\n')

    assert code == run_command(["report", str(good), str(good), option, "/dev/zero"])
    assert "it is larger than 16 MiB" in capsys.readouterr().err


def test_halves_of_characters_in_a_gate_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON, which is YAML, writes an emoji as two escapes; half of one is no letter."""
    run, gate = tmp_path / "run.jsonl", tmp_path / "gate.json"
    run.write_text(json.dumps({"id": "\U0001f600", "passed": True}))
    gate.write_text(r'{"must_pass": ["\ud83d\ude00", "\ud83d"], "limits": {"drop": {"\ude00": 0}}}')

    assert 1 == run_command(["report", str(run), str(run), "--gate", str(gate), "--output", "json"])
    rules = {rule["name"]: rule["state"] for rule in json.loads(capsys.readouterr().out)["gate"]["rules"]}
    assert ("kept", "undecided") == (rules["\U0001f600 passes"], rules["\ufffd passes"])


@pytest.mark.parametrize("output", ["table", "markdown", "json", "junit", "html"])
def test_a_report_of_hostile_names_is_no_more_than_text(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Markup, formulas, links, escapes and runner commands as names of cases and classes."""
    odd = "::error::\x1b[31m|`<script>alert(1)</script>&\u202e\x9b\xa0\U000e0041[x](javascript:alert(1))"
    for name, passes in (("a.jsonl", 3), ("b.jsonl", 2)):
        rows = [
            {"id": f"{odd}{number}", "score": float(number % passes > 0), "category": f'=HYPERLINK("http://x")|\n{odd}'}
            for number in range(60)
        ]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert 0 == run_command(["report", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), "--output", output])
    printed = capsys.readouterr().out
    assert all(line.replace("\t", " ").isprintable() for line in printed.splitlines())
    assert not any(line.lstrip().startswith(("::", "##[")) for line in printed.splitlines())
    if output == "json":
        assert json.loads(printed)["lost"][0]["case"].startswith(odd)
    if output in {"markdown", "junit", "html"}:
        assert "<script>alert" not in printed
        assert output != "markdown" or "[x](javascript:" not in printed  # its brackets are escaped
        assert 'href="javascript:' not in printed


def _span(trace: str, span: int, parent: int) -> dict[str, Any]:
    said = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "m"}
    return {
        "traceId": trace * 32,
        "spanId": f"{span:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": "chat",
        "startTimeUnixNano": "1795900000000000000",
        "endTimeUnixNano": "1795900001000000000",
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in said.items()],
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([_span("a", n, n % 50 + 1) for n in range(1, 51)], id="parents in a circle"),
        pytest.param([_span("b", 1, 1)], id="its own parent"),
        pytest.param([_span("c", n, n - 1) for n in range(1, 2_001)], id="a chain"),
        pytest.param([_span("d", n, int(n > 1)) for n in range(1, 2_001)], id="a star"),
        pytest.param([_span("e", 1, 0)] * 2_000, id="one id again and again"),
        pytest.param([_span("f", 1, 9)] + [_span("f", n, 99) for n in range(2, 99)], id="parents that never come"),
    ],
)
def test_odd_trees_of_spans_are_counted(
    spans: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every span is accounted for, and the trace is a request."""
    file, url = tmp_path / "spans.jsonl", f"sqlite:///{tmp_path}/ledger.db"
    file.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))

    assert 0 == run_command(["replay", str(file), "--ledger", url, "--output", "json"])
    assert 0 < json.loads(capsys.readouterr().out)["records"]["counted"]
    assert 0 == run_command(["ledger", "check", "--ledger", url])


def test_names_that_look_alike_are_distinguished_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By case; width, composed letters, other alphabets and invisible characters are no label, so no two merge."""
    alike = ["shop", "Shop", "SHOP", "\uff53hop", "shop\u200b", "sho\u0440", "shop ", "shöp", "sho\u0308p", "sh\x00op"]
    event = {"schema": "cliffwatch.trace/v1", "model_version": "m", "started_at": "2026-11-20T00:00:00Z"}
    lines = [json.dumps({**event, "trace_id": str(n), "service": name}) for n, name in enumerate(alike)]
    lines.append(json.dumps({**event, "trace_id": "k", "service": "k", "request": {"attributes": {"k" * 10**6: 1}}}))
    (tmp_path / "names.jsonl").write_text("\n".join(lines))
    words = ["--ledger", f"sqlite:///{tmp_path}/ledger.db"]

    assert 0 == run_command(["replay", str(tmp_path / "names.jsonl"), *words, "--output", "json"])
    records = json.loads(capsys.readouterr().out)["records"]
    assert (3, 8) == (records["counted"], records["dead_lettered"])
    assert 0 == run_command(["ledger", "names", *words, "--output", "json"])
    shown = json.loads(capsys.readouterr().out)["names"]
    placed = {each["name"] for each in shown if each["kind"] == "model_version"}
    assert {f"{name} production m" for name in ("shop", "Shop", "SHOP")} == placed


def test_an_error_is_short_whatever_it_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a case may have a million characters; the end of the message still says what to do."""
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, letter in zip(paths, "ab", strict=True):
        path.write_text(f"id,score\n{letter * 1_000_000},1\n")

    assert 2 == run_command(["report", *map(str, paths)])
    said = capsys.readouterr().err
    assert len(said) < 3_000
    assert "or run both versions on the same suite." in " ".join(said.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\n" + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9)),
        "a: &a {k: x}\n" + "".join(f"b{n}: &b{n} {{k: *{f'b{n - 1}' if n else 'a'}, l: *a}}\n" for n in range(30)),
        "a: " + "[" * 3_000 + "]" * 3_000,
        "a: &a [*a]",
        "<<: &a {<<: *a}",
        "\x00",
        "%YAML 9.9\n---\n- !!python/object:os.system x",
        "? [a]\n: b",
        "a: 0x" + "f" * 10_000,
        "a: 1e" + "9" * 400,
    ],
)
def test_odd_yaml_is_read_or_refused(text: str) -> None:
    """In bounded time, and with a sentence instead of a traceback."""
    parse_config_file(text.encode())


@pytest.mark.parametrize("variable", ["KAFKA__TOPICS", "ROLLOUT__FLOORS", "TRACES__OUTCOMES__EVALUATIONS"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":', "NaN", "[1e999]", "[[[]]]", '[{"service": "\\ud800"}]', "\x1b"]
)
def test_odd_variables_are_read_or_refused(variable: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sentence, whatever JSON makes of them."""
    monkeypatch.setenv(f"CLIFFWATCH_{variable}", text)

    with suppress(ConfigInvalid):
        load_config()


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil/{trace_id}",
        "ftp://x/",
        "https://",
        "https://{service}/",
        "HTTP s://x",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "https://x/\n.y",
        'https://x/"><script>',
        "https://x/{trace_id}\u202e",
        "https://x\x1b/",
        "https://\u2066x/",
    ],
)
def test_a_link_that_is_no_web_address_is_refused(link: str) -> None:
    """It stands on the status page, in cases and in exports."""
    with pytest.raises(ValidationError):
        WebSettings(trace_url=link)


@pytest.mark.parametrize(
    "link", ["", "https://traces.example/{trace_id}", "http://localhost:3000/?id={trace_id}&s={service}"]
)
def test_a_web_address_is_a_link(link: str) -> None:
    """Placeholders stand in its path or its query."""
    assert link == WebSettings(trace_url=link).trace_url


def test_a_new_ledger_is_ours_alone(tmp_path: Path) -> None:
    """Whatever the umask says, nobody else on the machine reads the names in it."""
    path = tmp_path / "ledger.db"
    ledger = SqlLedger(f"sqlite:///{path}")
    ledger.record(a_batch(tagged(a_trace())))
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    ledger.close()

    assert {0o600} == modes


@given(
    st.text()
    | st.lists(st.sampled_from(["text/plain", ";q=", "version=", "1.0.0", ",", "*/*", "=", ";", "x"])).map("".join)
)
def test_any_accept_header_is_answered(header: str) -> None:
    """What no format fits gets the text format."""
    _, content_type = choose_format(header)

    assert content_type.startswith(("text/plain", "application/openmetrics-text"))
