"""Reads the shipped dashboards: panels, queries, variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from grafana.dashboards import FOLDER

_VARIABLE = re.compile(r"\$\{(?P<formatted>\w+)(?P<format>:regex)?\}|\$(?P<plain>\w+)")


def shipped(name: str) -> dict[str, Any]:
    """The dashboard's JSON."""
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return document


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the rows."""
    return [panel for panel in shipped(name)["panels"] if panel["type"] != "row"]


def expressions(name: str) -> Iterator[str]:
    """Every PromQL expression of it: panels, annotations, variables."""
    document = shipped(name)
    for panel in panels(name):
        yield from (target["expr"] for target in panel["targets"])
    yield from (annotation["expr"] for annotation in document["annotations"]["list"])
    variables = document["templating"]["list"]
    yield from (variable["query"] for variable in variables if variable["type"] == "query")


def filled_in(expression: str, variables: Mapping[str, str]) -> str:
    """*expression* as Grafana sends it: ${name:regex} has a backslash before every dot."""
    return _VARIABLE.sub(
        lambda match: (
            re.sub(r"[.*+?^${}()|\[\]\\/]", r"\\\g<0>", variables[match["formatted"]])
            if match["format"]
            else variables[match["formatted"] or match["plain"]]
        ),
        expression,
    )
