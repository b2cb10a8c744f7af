"""What all templates of documents share: how they are read, what they may draw, and how they write numbers."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from monitor.output.charts.comparisons import coverage_chart, parts_chart, rates_chart, share_chart
from monitor.rollout.wording import markdown, percent, points, signed, with_bounds


def templates_of(package: str, **options: Any) -> Environment:
    """The templates of *package*: what goes into HTML is escaped, and a value that is not given is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        **options,
    )
    environment.globals |= {each.__name__: each for each in (coverage_chart, parts_chart, rates_chart, share_chart)}
    environment.filters |= {each.__name__: each for each in (percent, points, signed, with_bounds)}
    environment.filters["text"] = markdown
    return environment
