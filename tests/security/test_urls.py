"""A password in a URL, however misspelt, given to every option, variable and key that takes one: nothing repeats it."""

from __future__ import annotations

import itertools
import json
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from monitor.cli.app import run_command, whole_app
from monitor.errors import MonitorError, printable_url
from monitor.web.server import parse_address

CANARY = "canary7Q"
SCHEMES = ("postgresql+psycopg://", "postgres://", "postgresql:/", "sqlite:///", "sqlite://", "https://", "http//", "")
PLACES = ("127.0.0.1:1/db", "[::1/db", "127.0.0.1:99999", f"127.0.0.1:{CANARY}/db", "127.0.0.1:1/db?sslmode=odd")
PASSWORDS = (CANARY, f"p@{CANARY}:x", f"pa/{CANARY}", f"pa?{CANARY}", f"pa#{CANARY}", f"{CANARY}\n", f"{CANARY}\\", "")
URLS = [
    *(f"{scheme}user:{CANARY}@127.0.0.1:1/db" for scheme in SCHEMES),
    *(f"postgresql+psycopg://user:{password}@127.0.0.1:1/db" for password in PASSWORDS),
    *(f"{scheme}user:{CANARY}@{place}" for scheme in SCHEMES[::5] for place in PLACES),
    *(
        f"{scheme}127.0.0.1:1/db?user=u&{key}={CANARY}"
        for scheme in SCHEMES[::3]
        for key in ("password", "sslpassword")
    ),
    f"postgresql+psycopg://127.0.0.1:1/db?user=u&password=p@{CANARY}",
    f" 'postgresql+psycopg://user:{CANARY}@127.0.0.1:1/db'",
    f"SASL_SSL://user:{CANARY}@127.0.0.1:1,127.0.0.1:1",
    f"://:{CANARY}@",
    CANARY,
]
EVENT = (
    b'{"schema": "cliffwatch.trace/v1", "trace_id": "t", "service": "shop", "model_version": "m", "request_id": "q",'
    b' "started_at": "2026-11-28T12:00:00Z", "request": {"text": "x"}, "outcome": {"success": true}}\n'
)

_TAKES_A_URL = frozenset({"URL", "HOST:PORT"})
_READ_FIRST = frozenset({("run",), ("demo",), ("replay",)})
"""Commands that look where to serve only after all else; `parse_address` speaks for them."""


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", {})
    if not below or (path and command.invoke_without_command):
        yield path, command
    for name, each in below.items():
        yield from _leaves(each, (*path, name))


def _words(path: tuple[str, ...], command: Any) -> list[str]:
    """The command with what it cannot do without."""
    needed = [
        ["f.jsonl"] if isinstance(p, click.Argument) else [p.opts[0], "f.jsonl"] for p in command.params if p.required
    ]
    return [*path, *itertools.chain(*needed)]


COMMANDS = dict(_leaves(typer.main.get_command(whole_app())))
OPTIONS = [
    (path, param.opts[0])
    for path, command in COMMANDS.items()
    for param in command.params
    if param.metavar in _TAKES_A_URL and not (path in _READ_FIRST and "listen" in param.opts[0])
]


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[Sequence[str]], str]:
    """Everything that a command says at level debug, with nothing that answers behind it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.jsonl").write_bytes(EVENT)
    monkeypatch.setenv("CLIFFWATCH_KAFKA__REQUEST_TIMEOUT_SECONDS", "0.05")
    monkeypatch.setenv("CLIFFWATCH_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")

    def run(words: Sequence[str]) -> str:
        run_command([*words, "--log.level", "debug"])
        printed = capfd.readouterr()
        return printed.out + printed.err

    return run


Said = Callable[[Sequence[str]], str]


def _some(*seed: object) -> Sequence[str]:
    """A few of the URLs, others for each command and option."""
    return random.Random(repr(seed)).sample(URLS, 4)


def test_the_walk_meets_every_command() -> None:
    """A new one is added by its name alone; those that take a URL are these and more."""
    assert {("verdict",), ("ledger", "check"), ("probes", "run"), ("cases", "export")} <= COMMANDS.keys()
    assert {(("doctor",), "--prometheus"), (("init",), "--bootstrap-servers"), (("tail",), "--ledger")} <= {*OPTIONS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "option"), OPTIONS, ids=lambda each: each if isinstance(each, str) else " ".join(each)
)
def test_no_command_repeats_a_url_that_it_was_given(path: tuple[str, ...], option: str, said: Said) -> None:
    """Every option of every command that takes one."""
    for url in _some(path, option):
        assert CANARY not in said([*_words(path, COMMANDS[path]), option, url])


@pytest.mark.parametrize(
    "words",
    [
        ("verdict", "--ledger"),
        ("doctor", "--prometheus"),
        ("probes", "run", "f.jsonl", "--model", "m", "--openai-base-url"),
    ],
)
@pytest.mark.parametrize("url", URLS)
def test_no_form_of_a_url_is_repeated(words: Sequence[str], url: str, said: Said) -> None:
    """Each way of getting one wrong, for a ledger, a Prometheus and a chat model."""
    printed = said([*words, url])

    assert printed
    assert CANARY not in printed


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in COMMANDS if path != ("demo",)], ids=" ".join)
@pytest.mark.parametrize("setting", ["LEDGER__URL", "KAFKA__BOOTSTRAP_SERVERS", "WEB__TRACE_URL", "LEDGER__URL_FILE"])
def test_no_command_repeats_a_url_of_the_environment(
    path: tuple[str, ...], setting: str, said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor one that stands in the file which the environment names."""
    for number, url in enumerate(_some(path, setting)):
        if setting.endswith("FILE"):
            (tmp_path / "url").write_text(url)
        monkeypatch.setenv("CLIFFWATCH_LEDGER__URL", f"postgresql+psycopg://user:{CANARY}@127.0.0.1:1/db")
        monkeypatch.setenv(
            f"CLIFFWATCH_{setting}", str(tmp_path / "url") if setting.endswith("FILE") else url.replace("\0", "")
        )
        assert CANARY not in said(_words(path, COMMANDS[path])), number


@pytest.mark.parametrize(
    "text",
    [
        *(f"ledger: {{url: {json.dumps(url)}}}" for url in URLS if url != CANARY),
        *(f"kafka: {{bootstrap_servers: {json.dumps(url)}}}" for url in URLS if "@" in url),
        *(
            f"kafka:\n  sasl_password: {mark}{CANARY}\n"
            for mark in ("", "*", "&", "!", "%", "@", "`", "{", "[", "'", "- ")
        ),
        f"kafka: {{sasl_passwd: {CANARY}}}",
        f"kafka:\n  sasl_password_file: [{CANARY}]\n",
        f"kafka_password: {CANARY}",
        f"web: {{trace_url: 'https://user:{CANARY}@traces/'}}",
        f"web: {{listen_address: 'user:{CANARY}@127.0.0.1:1'}}",
    ],
)
def test_no_problem_of_a_config_repeats_a_secret(text: str, said: Said, tmp_path: Path) -> None:
    """Whichever key it was put under, and whatever YAML makes of its first character."""
    (tmp_path / "c.yaml").write_text(text)

    assert CANARY not in said(["check-config", "c.yaml"])


@pytest.mark.parametrize("url", URLS)
def test_no_address_to_serve_at_is_repeated(url: str) -> None:
    """What is no HOST:PORT may be a URL that landed in the wrong option."""
    try:
        parse_address(url)
    except MonitorError as error:
        said = "".join(traceback.format_exception(error))
    else:
        said = ""

    assert CANARY not in said


@given(
    st.sampled_from(SCHEMES),
    st.text(st.characters(exclude_characters="@?")),
    st.sampled_from(["/", "?", "#", ":", "@", ""]),
    st.sampled_from(["db:5432/x", "[::1]:1", "db", "db/x?sslmode=require", "db?password=" + CANARY]),
)
def test_a_printable_url_holds_no_password(scheme: str, user: str, before: str, place: str) -> None:
    """Whatever stands before it, and however it was not escaped."""
    assert CANARY not in printable_url(f"{scheme}{user}:{before}{CANARY}{before}@{place}")


@pytest.mark.parametrize(
    "url", ["sqlite:////var/lib/cliffwatch/ledger.db", "http://127.0.0.1:9090", "postgresql+psycopg://db/cliffwatch"]
)
def test_a_url_without_a_secret_is_shown_whole(url: str) -> None:
    """Somebody has to find the file."""
    assert url == printable_url(url)
