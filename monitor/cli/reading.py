"""The options that say how to read results of eval tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import FiniteFloat

from monitor.errors import UsageError
from monitor.evals.formats.reading import Options


@dataclass(frozen=True)
class Reading:
    """
    The options that say how results of eval tools are read, the same for every command that reads them.

    Attributes:
        column (ROLE=NAME): Role of a column, for example case=id or passed=correct. Repeatable.
        metric (NAME): The score that counts; repeat it if files have different scores.
        filter_name (--filter NAME): The lm-evaluation-harness filter that counts.
        pass_at (SCORE): Lowest score that passes, for example 1 for scores from 0 to 1.
        capability (NAME): Metadata that holds the capability class.
    """

    column: list[str] | None = None
    metric: list[str] | None = None
    filter_name: list[str] | None = None
    pass_at: FiniteFloat | None = None
    capability: str | None = None

    def options(self) -> Options:
        """The options for the reader."""
        return Options(
            columns=dict(assignments(self.column or [], "--column", "case=id")),
            metrics=tuple(self.metric or ()),
            filters=tuple(self.filter_name or ()),
            pass_at=self.pass_at,
            capability_key=self.capability,
        )


def assignments(pairs: Sequence[str], option: str, example: str) -> Iterator[tuple[str, str]]:
    """
    Name and value of each `NAME=VALUE`.

    Raises:
        UsageError: a pair has another form.
    """
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{option} {pair} is not of the form NAME=VALUE, such as {option} {example}.")
        yield name, value
