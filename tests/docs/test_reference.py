"""The pages that are written from the code say what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from starlette.routing import Route

from docs.handbook import alert_reference, command_reference, config_reference, event_reference, http_reference
from docs.handbook.command_reference import commands
from docs.handbook.event_reference import event_schemas
from monitor.cli.app import whole_app
from monitor.config.model import Config
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import SnapshotHolder
from monitor.output.cases import TraceLinks
from monitor.rollout.policy import Policy
from monitor.service.rollout_control import RolloutControl
from monitor.web.app import metrics_app
from tests.metrics.snapshots import a_snapshot
from tests.trace.events import decode_native

COMMANDS = {" ".join(path): command for path, command in commands(typer.main.get_command(whole_app()))}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_its_section_with_every_option(name: str) -> None:
    """Under its own heading, with help for each."""
    section = command_reference.page().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    options = [each for each in COMMANDS[name].params if each.param_type_name == "option"]

    assert "Example: `cliffwatch" in section
    named = set(re.findall(r"(?<![\w-])--[\w.-]+", section))
    assert set() == {name for option in options for name in option.opts if name.startswith("--")} - named
    assert [] == [option.opts[0] for option in options if not option.help]


def test_every_key_of_the_config_is_there() -> None:
    """With the default that the code has."""
    page = config_reference.page()

    missing = [key for key in _keys(yaml.safe_load(Config().model_dump_json())) if f'<a id="{key}">' not in page]

    assert [] == missing


def _keys(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        found += _keys(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
    return found


def test_every_alert_is_there_with_its_expression() -> None:
    """And every recorded series."""
    page = alert_reference.page()
    groups = yaml.safe_load(alert_reference.RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert [] == [rule for rule in rules if f"### {rule.get('alert', rule.get('record'))}\n" not in page]
    assert [] == [rule for rule in rules if rule["expr"].rstrip() not in page]


@pytest.mark.parametrize("name", event_schemas())
def test_the_example_of_an_event_is_one(name: str) -> None:
    """It decodes, it follows the schema, and it has every field of it."""
    example, schema = event_reference.EXAMPLES[name], event_schemas()[name]

    event = decode_native(json.dumps(example).encode())
    jsonschema.validate(example, schema)

    assert 0 == event.unknown_fields
    assert schema["properties"].keys() - {"cost_usd"} == example.keys()


def test_every_route_is_there() -> None:
    """Both ways, with its methods."""
    with closing(SqlLedger("sqlite://")) as ledger:
        control = RolloutControl(ledger, policy=Policy, now=lambda: 0.0, links=TraceLinks(""))
        routes = metrics_app(SnapshotHolder(a_snapshot()), lambda: None, control).routes

    assert {
        (method, route.path)
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    } == http_reference.ROUTES.keys()
