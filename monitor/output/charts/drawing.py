"""An SVG picture in the making: shapes with attributes, text as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup

from monitor.rollout.cohort import ArmName

# CSS custom properties that a page may set, each with a default.
INK = "currentColor"
MUTED = "var(--chart-muted, #57606a)"
GRID = "var(--chart-grid, #d0d7de)"
PAPER = "var(--chart-paper, #ffffff)"
COLOURS = {ArmName.BASELINE: "var(--chart-baseline, #0072b2)", ArmName.CANDIDATE: "var(--chart-candidate, #c04f00)"}
"""Colour of each arm; their marks also differ in shape."""
ALARM = "var(--chart-alarm, #a3195b)"

# Blue, vermilion and reddish purple of Okabe and Ito's palette, which is safe for colour blindness, darkened or
# lightened until text has a contrast of 4.5 on the background of its scheme.
CHART_STYLE = """
:root {
  --chart-muted: #57606a; --chart-grid: #d0d7de; --chart-paper: #ffffff;
  --chart-baseline: #0072b2; --chart-candidate: #c04f00; --chart-alarm: #a3195b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --chart-muted: #9da7b1; --chart-grid: #3d444d; --chart-paper: #0d1117;
    --chart-baseline: #56b4e9; --chart-candidate: #f0902f; --chart-alarm: #f08bc0;
  }
}
@media print {
  :root {
    --chart-muted: #57606a; --chart-grid: #d0d7de; --chart-paper: #ffffff;
    --chart-baseline: #0072b2; --chart-candidate: #c04f00; --chart-alarm: #a3195b;
  }
}
svg.chart { display: block; width: 100%; height: auto; max-width: 30rem; font-family: inherit; }
"""
"""CSS for a page with charts: colours for each scheme, and charts as wide as their column."""

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
FONT_SIZE = 12
_GLYPH = 0.56
"""Width of an average letter as a multiple of the font size, since the server cannot measure text."""


class Drawing:
    """
    An SVG drawing; one unit is one pixel at its natural size.

    Args:
        name: ID of the drawing, unique on the page: letters, digits and hyphens.
        title: A short title.
        description: Its contents with all numbers, for people who cannot see it.
        width: Width in units.
        height: Height in units.
    """

    def __init__(self, name: str, *, title: str, description: str, width: float, height: float) -> None:
        self.name = name
        self.width, self.height = width, height
        self.root = ET.Element(
            "svg",
            {
                "xmlns": SVG_NAMESPACE,
                "class": "chart",
                "viewBox": f"0 0 {number(width)} {number(height)}",
                "font-family": "system-ui, DejaVu Sans, sans-serif",
                "font-size": str(FONT_SIZE),
                "role": "img",
                "aria-labelledby": f"{name}-title {name}-desc",
            },
        )
        self.add("title", text=title, id=f"{name}-title")
        self.add("desc", text=description, id=f"{name}-desc")

    def add(
        self,
        tag: str,
        *,
        text: str = "",
        inside: ET.Element | None = None,
        points: Iterable[tuple[float, float]] = (),
        **attributes: str | float | None,
    ) -> ET.Element:
        """
        Append an element to the drawing, or to the element *inside*.

        Underscores in the names of *attributes* become hyphens; numbers are rounded to a hundredth of a unit, and
        attributes that are None are left out. *points* are those of a polygon or polyline.
        """
        path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        named = {
            name.replace("_", "-"): value if isinstance(value, str) else number(value)
            for name, value in {"points": path or None, **attributes}.items()
            if value is not None
        }
        element = ET.SubElement(self.root if inside is None else inside, tag, named)
        element.text = "".join(letter for letter in text if letter.isprintable()) or None
        return element

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", fill: str = INK, **style: Any) -> None:
        """Draw *text* on the baseline *y*; *anchor* says which end of it is at *x*, *style* is as in `add`."""
        self.add("text", text=text, x=x, y=y, text_anchor=anchor, fill=fill, **style)

    def line(
        self, start: tuple[float, float], end: tuple[float, float], *, stroke: str, width: float = 1.0, dashes: str = ""
    ) -> None:
        """Draw a straight line."""
        (x1, y1), (x2, y2) = start, end
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, stroke_width=width, stroke_dasharray=dashes or None)

    def rect(
        self, x: float, y: float, width: float, height: float, *, fill: str, stroke: str = "none", **style: Any
    ) -> None:
        """Draw a rectangle from its upper left corner; negative sizes become 0, *style* is as in `add`."""
        self.add("rect", x=x, y=y, width=max(0.0, width), height=max(0.0, height), fill=fill, stroke=stroke, **style)

    def mark(self, arm: ArmName, x: float, y: float, *, size: float = 5.0) -> None:
        """Draw the mark of *arm*: a hollow circle for the baseline, a filled diamond for the candidate."""
        if arm is ArmName.BASELINE:
            self.add("circle", cx=x, cy=y, r=size - 0.5, fill=PAPER, stroke=COLOURS[arm], stroke_width=2.0)
        else:
            points = ((x, y - size - 1), (x + size + 1, y), (x, y + size + 1), (x - size - 1, y))
            self.add("polygon", points=points, fill=COLOURS[arm], stroke=PAPER, stroke_width=1.0)

    def legend(self, y: float, baseline: str, candidate: str) -> None:
        """Draw both marks with the names of their arms, on the baseline *y* and one line below."""
        for row, (arm, name) in enumerate(((ArmName.BASELINE, baseline), (ArmName.CANDIDATE, candidate))):
            base = y + row * (FONT_SIZE + 5)
            self.mark(arm, 7, base - 4)
            self.text(20, base, shortened(f"{arm.value}: {name}", self.width - 24))

    def hatch(self, arm: ArmName) -> str:
        """Define a hatch pattern in the colour of *arm*; returns the value for `fill`."""
        name = f"{self.name}-hatch-{arm.value}"
        turn = "rotate(45)" if arm is ArmName.CANDIDATE else "rotate(-45)"
        pattern = self.add("pattern", id=name, width=6, height=6, patternUnits="userSpaceOnUse", patternTransform=turn)
        self.add("rect", inside=pattern, width=6, height=6, fill=COLOURS[arm], fill_opacity=0.25)
        self.add("line", inside=pattern, x1=0, y1=0, x2=0, y2=6, stroke=COLOURS[arm], stroke_width=3.0)
        return f"url(#{name})"

    def svg(self) -> Markup:
        """The drawing as SVG, with all texts escaped."""
        return Markup(ET.tostring(self.root, encoding="unicode"))  # noqa: S704 - ElementTree escapes


def shortened(text: str, width: float) -> str:
    """*text*, cut to *width* with an ellipsis at its end."""
    most = max(1, int(width / (_GLYPH * FONT_SIZE)))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def text_width(text: str) -> float:
    """Approximate width of *text*."""
    return len(text) * _GLYPH * FONT_SIZE


def number(value: float) -> str:
    """*value* rounded to a hundredth of a unit, as text."""
    return f"{round(value, 2):g}"
