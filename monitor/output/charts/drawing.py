"""An SVG picture in the making: shapes with attributes, text as text."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from xml.etree import ElementTree as ET

from markupsafe import Markup

from monitor.output.charts.palette import BASELINE, CANDIDATE, INK, PAPER

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
FONT_SIZE = 12
_GLYPH = 0.56
"""Width of an average letter, in font sizes; text is not measured on the server."""


class Arm(StrEnum):
    """Which side of a comparison a mark stands for; each has a colour and a shape of its own."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"

    @property
    def colour(self) -> str:
        """The colour, as an SVG paint."""
        return BASELINE if self is Arm.BASELINE else CANDIDATE


class Drawing:
    """
    One picture, in units that are pixels where it is shown at its own size.

    Args:
        name: Letters, digits and hyphens; unlike any other drawing's on the same page.
        title: What the picture is of, in a few words.
        description: What it shows, with its numbers, for those who do not see it.
        width: Units across.
        height: Units down.
        is_standalone: Whether it is a file of its own, on white paper, instead of a part of a page.
    """

    def __init__(
        self, name: str, *, title: str, description: str, width: float, height: float, is_standalone: bool = False
    ) -> None:
        self.name = name
        self.width, self.height = width, height
        sized = {"width": _number(width), "height": _number(height), "color": "#1f2328"} if is_standalone else {}
        self._root = ET.Element(
            "svg",
            {
                "xmlns": SVG_NAMESPACE,
                "class": "chart",
                "viewBox": f"0 0 {_number(width)} {_number(height)}",
                **sized,
                "font-family": "system-ui, DejaVu Sans, sans-serif",
                "font-size": str(FONT_SIZE),
                "role": "img",
                "aria-labelledby": f"{name}-title {name}-desc",
            },
        )
        self.add("title", text=title, id=f"{name}-title")
        self.add("desc", text=description, id=f"{name}-desc")
        if is_standalone:
            self.rect(0, 0, width, height, fill="#ffffff")

    def add(
        self, tag: str, *, text: str = "", inside: ET.Element | None = None, **attributes: str | float
    ) -> ET.Element:
        """
        A new element at the end of the picture, or of the element that it belongs *inside*.

        Underscores in the names of *attributes* are the hyphens of SVG; a number is written to a hundredth of a unit.
        """
        named = {
            name.replace("_", "-"): _number(value) if isinstance(value, float) else str(value)
            for name, value in attributes.items()
        }
        element = ET.SubElement(self._root if inside is None else inside, tag, named)
        element.text = "".join(letter for letter in text if letter.isprintable()) or None
        return element

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        fill: str = INK,
        size: float = FONT_SIZE,
        is_bold: bool = False,
    ) -> None:
        """*text* on the base line *y*; *anchor* says which end of it is at *x*."""
        element = self.add("text", text=text, x=float(x), y=float(y), text_anchor=anchor, fill=fill)
        if size != FONT_SIZE:
            element.set("font-size", _number(size))
        if is_bold:
            element.set("font-weight", "bold")

    def line(
        self, start: tuple[float, float], end: tuple[float, float], *, stroke: str, width: float = 1.0, dashes: str = ""
    ) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = start, end
        element = self.add(
            "line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), stroke=stroke, stroke_width=float(width)
        )
        if dashes:
            element.set("stroke-dasharray", dashes)

    def rect(
        self, x: float, y: float, width: float, height: float, *, fill: str, stroke: str = "none", opacity: float = 1.0
    ) -> None:
        """A rectangle by its upper left corner; none has a negative size, and *opacity* is that of its inside."""
        element = self.add(
            "rect", x=float(x), y=float(y), width=max(0.0, width), height=max(0.0, height), fill=fill, stroke=stroke
        )
        if opacity != 1.0:
            element.set("fill-opacity", _number(opacity))

    def mark(self, arm: Arm, x: float, y: float, *, size: float = 5.0) -> None:
        """The mark of *arm*: a hollow circle for the baseline, a filled diamond for the candidate."""
        if arm is Arm.BASELINE:
            self.add("circle", cx=float(x), cy=float(y), r=size - 0.5, fill=PAPER, stroke=arm.colour, stroke_width=2.0)
        else:
            points = ((x, y - size - 1), (x + size + 1, y), (x, y + size + 1), (x - size - 1, y))
            self.add("polygon", points=path_of(points), fill=arm.colour, stroke=PAPER, stroke_width=1.0)

    def legend(self, y: float, baseline: str, candidate: str) -> None:
        """Both marks with the names of their arms, on the base lines *y* and a line below."""
        for row, (arm, name) in enumerate(((Arm.BASELINE, baseline), (Arm.CANDIDATE, candidate))):
            base = y + row * (FONT_SIZE + 5)
            self.mark(arm, 7, base - 4)
            self.text(20, base, shortened(f"{arm.value}: {name}", self.width - 24))

    def hatch(self, arm: Arm) -> str:
        """The paint of lines in the colour of *arm*, to be used for `fill`."""
        name = f"{self.name}-hatch-{arm.value}"
        slant = 45 if arm is Arm.CANDIDATE else -45
        pattern = self.add(
            "pattern", id=name, width=6, height=6, patternUnits="userSpaceOnUse", patternTransform=f"rotate({slant})"
        )
        self.add("rect", inside=pattern, width=6, height=6, fill=arm.colour, fill_opacity=0.25)
        self.add("line", inside=pattern, x1=0, y1=0, x2=0, y2=6, stroke=arm.colour, stroke_width=3.0)
        return f"url(#{name})"

    def embed(self, picture: ET.Element, x: float, y: float) -> None:
        """Another picture at its own size, its upper left corner at *x* and *y*."""
        _, _, width, height = picture.attrib["viewBox"].split()
        picture.attrib |= {"x": _number(x), "y": _number(y), "width": width, "height": height}
        self._root.append(picture)

    def svg(self) -> Markup:
        """The whole picture, with everything that it was given escaped."""
        return Markup(ET.tostring(self._root, encoding="unicode"))  # noqa: S704 - ElementTree escapes

    def document(self) -> str:
        """The whole picture as a file that people may read."""
        ET.indent(self._root)
        return ET.tostring(self._root, encoding="unicode") + "\n"


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """*points* as `points` of a polygon or polyline."""
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def shortened(text: str, width: float, *, font_size: float = FONT_SIZE) -> str:
    """*text*, or as much of it as goes into *width* with an ellipsis at its end."""
    most = max(1, int(width / (_GLYPH * font_size)))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def text_width(text: str, *, font_size: float = FONT_SIZE) -> float:
    """How wide *text* is, roughly."""
    return len(text) * _GLYPH * font_size


def _number(value: float) -> str:
    return f"{round(value, 2):g}"
