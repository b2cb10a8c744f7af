"""Whether a command that a page tells people to type exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import typer
import yaml

from docs.handbook import http_reference
from docs.handbook.markdown import ROOT
from monitor.cli.app import whole_app
from monitor.config.model import ENVIRONMENT_PREFIX, Config
from monitor.config.reference import setting_at
from tests.docs.shell import Command

ORDINARY = {
    *(
        "cat",
        "cd",
        "cp",
        "diff",
        "echo",
        "git",
        "grep",
        "gzip",
        "head",
        "jq",
        "kill",
        "ls",
        "mkdir",
        "mv",
        "sed",
        "sleep",
    ),
    *(
        "amtool",
        "docker-compose",
        "htpasswd",
        "kcat",
        "kubectl",
        "openssl",
        "pg_dump",
        "pg_restore",
        "promtool",
        "psql",
    ),
    *(
        "createdb",
        "curl",
        "docker",
        "java",
        "kafka-configs.sh",
        "kafka-consumer-groups.sh",
        "kafka-topics.sh",
        "sqlite3",
    ),
    *(
        "helm",
        "node",
        "npm",
        "npx",
        "pip",
        "pip-audit",
        "python",
        "python3",
        "source",
        ".",
        "sudo",
        "systemctl",
        "tail",
        "zcat",
    ),
}
"""Programs of others, which are checked as far as they touch what is ours."""


def check_command(command: Command) -> None:
    """
    Fails unless *command* exists, as far as it touches what is ours.

    That is: our own program with its very options, targets of make, services of compose, routes, keys of the config,
    files of the repository.
    """
    for setting in command.settings:
        assert _is_setting(setting), f"{setting} is no key of the config"
    match command.program:
        case "":
            assert command.settings
        case "cliffwatch":
            _parse(command.words[1:])
        case "make":
            assert set(command.words[1:]) <= _targets()
        case "curl":
            _check_request(command.words)
        case program:
            assert program in ORDINARY, f"nothing knows {program}: teach tests/docs/command_checks.py"
            _check_places(command.words)
            _check_compose(command.words)


def _parse(arguments: tuple[str, ...]) -> None:
    """Fails unless Typer takes *arguments*; nothing is done."""
    root = typer.main.get_command(whole_app())
    for command in _leaves(root):
        command.callback = lambda **_: None
    try:
        root(args=list(arguments), prog_name="cliffwatch", standalone_mode=False)
    except Exception as error:
        raise AssertionError(f"cliffwatch {' '.join(arguments)}: {error}") from error


def _leaves(command: Any) -> Iterator[Any]:
    below = getattr(command, "commands", None) or {}
    if not below or command.invoke_without_command:
        yield command
    for each in below.values():
        yield from _leaves(each)


def _is_setting(assignment: str) -> bool:
    name = assignment.partition("=")[0]
    if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
        return not name.startswith(ENVIRONMENT_PREFIX)
    return setting_at(Config, tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))) is not None


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _check_request(words: tuple[str, ...]) -> None:
    """A request to our own port goes to a route that there is, with a body that is JSON."""
    (url,) = [word for word in words if "://" in word]
    parts = urlsplit(url)
    if parts.port != 9464:
        return
    data = [words[place + 1] for place, word in enumerate(words) if word in {"-d", "--data"}]
    named = [words[place + 1] for place, word in enumerate(words) if word in {"-X", "--request"}]
    method = named[0] if named else ("POST" if data else "GET")
    routes = {(verb, re.sub(r"\{\w+\}", "[^/]+", path)) for verb, path in http_reference.ROUTES}

    assert any(verb == method and re.fullmatch(pattern, parts.path) for verb, pattern in routes), f"{method} {url}"
    assert all(isinstance(json.loads(body), dict) for body in data)


def _check_places(words: tuple[str, ...]) -> None:
    """Files of the repository that a command names are there."""
    ours = ("rules/", "grafana/", "deploy/", "docs/", "tests/", "examples/", "bench/")
    assert [] == [word for word in words if word.startswith(ours) and not (ROOT / word).exists()]


def _check_compose(words: tuple[str, ...]) -> None:
    """Profiles and services of compose are there."""
    if "compose" not in words[:2] and words[0] != "docker-compose":
        return
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    profiles = {profile for service in services.values() for profile in service.get("profiles", ())}
    for place, word in enumerate(words):
        if word == "--profile":
            assert words[place + 1] in profiles
        if word in {"exec", "logs", "restart", "stop"}:
            named = next((each for each in words[place + 1 :] if not each.startswith("-")), None)
            assert named is None or named in services
