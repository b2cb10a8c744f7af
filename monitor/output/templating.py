"""Sets up Jinja for all documents: loading and escaping, charts, and filters that format numbers."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from monitor.output.charts.comparisons import coverage_chart, parts_chart, rates_chart, share_chart
from monitor.rollout.wording import markdown, percent, points, signed, with_bounds


def templates_of(package: str, **options: Any) -> Environment:
    """The templates of *package*; values in HTML are escaped, and a missing value is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        **options,
    )
    environment.globals |= {chart.__name__: chart for chart in (coverage_chart, parts_chart, rates_chart, share_chart)}
    environment.filters |= {form.__name__: form for form in (percent, points, signed, with_bounds)}
    environment.filters["text"] = markdown
    return environment
