"""Templates and what they may use: filters, names, and the one style sheet with its hash."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitor.output.charts.palette import CHART_STYLE
from monitor.rollout.wording import percent, points, signed, with_bounds
from monitor.web.page import words
from monitor.web.page.overview import since

_STYLE = CHART_STYLE + resources.files(__package__).joinpath("templates", "style.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
}
"""Headers of every page: it may show its own style sheet, and load or run nothing."""


def render(template: str, **values: Any) -> str:
    """The page that *template* makes of *values*."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("monitor.web.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"style": Markup(_STYLE), "headlines": words.HEADLINES}  # noqa: S704 - our own file
    environment.filters |= {
        "bounds": words.bounds,
        "count": words.count,
        "decimal": words.decimal,
        "duration": words.duration,
        "percent": percent,
        "points": points,
        "rate": words.rate,
        "ratio": words.ratio,
        "signed": signed,
        "since": since,
        "when": words.when,
        "with_bounds": with_bounds,
    }
    return environment
