"""How results of eval tools are read, as typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from monitor.errors import UsageError
from monitor.evals.formats.reading import Options


@dataclass(frozen=True)
class Reading:
    """The options that say how results of eval tools are read, the same for every command that reads them."""

    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="ROLE=NAME", help="Which column is what, as case=id, passed=correct."),
    ] = None
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="The score that counts; repeat where files have different ones."),
    ] = None
    filter_name: Annotated[
        list[str] | None, typer.Option("--filter", metavar="NAME", help="The lm-evaluation-harness filter that counts.")
    ] = None
    pass_at: Annotated[
        float | None,
        typer.Option("--pass-at", metavar="SCORE", help="Lowest score that is a pass; 1 for scores from 0 to 1."),
    ] = None
    capability: Annotated[
        str | None, typer.Option("--capability", metavar="NAME", help="Metadata that holds the capability class.")
    ] = None

    def options(self) -> Options:
        """How results are read, as typed."""
        return Options(
            columns=assignments(self.column or [], "--column", "case=id"),
            metrics=tuple(self.metric or ()),
            filters=tuple(self.filter_name or ()),
            pass_at=self.pass_at,
            capability_key=self.capability,
        )


def assignments(pairs: Sequence[str], option: str, example: str) -> Mapping[str, str]:
    """
    Value by name of `NAME=VALUE`.

    Raises:
        UsageError: a pair has another form.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{option} {pair} is not of the form NAME=VALUE, such as {option} {example}.")
        found[name] = value
    return found
