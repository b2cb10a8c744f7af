"""Markdown files as GitHub shows them: their links, headings, pictures and code blocks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

_NOT_READ = {".venv", ".git", ".servers", ".pytest_cache", "node_modules", "site", "build", "dist", "tests"}
_UNCHECKED = re.compile(r"<!--\s*unchecked:\s*(?P<reason>.+?)\s*-->", re.DOTALL)
_NAMED_ANCHOR = re.compile(r"""<a\s+(?:id|name)=["']([^"']+)["']""")
_HTML_LINK = re.compile(r"<(?P<tag>a|img)\b[^>]*>")
_HTML_ATTRIBUTE = re.compile(r"""(?P<name>[a-z-]+)=["'](?P<value>[^"']*)["']""")
_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True, slots=True)
class Block:
    """
    One fenced block.

    Attributes:
        page: Where it stands, relative to the repository.
        line: Line of its fence, from 1.
        language: First word behind the fence; empty without one.
        text: What is inside, with its last line feed.
        unchecked: Why no test can look at it, from `<!-- unchecked: why -->` above it; empty for all others.
    """

    page: str
    line: int
    language: str
    text: str
    unchecked: str = ""

    @property
    def place(self) -> str:
        """Page and line, as an editor takes them."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Link:
    """
    One link or picture.

    Attributes:
        line: Line of the paragraph or table row that holds it, from 1.
        target: As written.
        text: What is shown for it; the alternative text of a picture.
    """

    line: int
    target: str
    text: str
    is_picture: bool


def pages() -> list[Path]:
    """Every Markdown file that a reader of the repository meets, those of dependencies and tests left out."""
    return sorted(
        path for path in ROOT.rglob("*.md") if not _NOT_READ & set(path.relative_to(ROOT).parts) and path.is_file()
    )


def page_name(path: Path) -> str:
    """*path* as one writes it: relative to the repository."""
    return path.resolve().relative_to(ROOT).as_posix()


def blocks(path: Path, language: str | None = None) -> list[Block]:
    """Fenced blocks of the page at *path*; of one *language* only where it is given."""
    return [block for block in _blocks(path) if language is None or block.language == language]


@cache
def _blocks(path: Path) -> Sequence[Block]:
    found = []
    reason = ""
    for token in _PARSER.parse(path.read_text(encoding="utf-8")):
        if token.type == "fence":
            line = (token.map or [0])[0] + 1
            info = token.info.split()
            found.append(Block(page_name(path), line, info[0] if info else "", token.content, reason))
        match = _UNCHECKED.search(token.content) if token.type == "html_block" else None
        reason = match["reason"] if match else ""
    return found


def links(text: str) -> list[Link]:
    """Links and pictures of the Markdown *text*, in order, those that are written as HTML included."""
    return [link for token in _PARSER.parse(text) for link in _links(token)]


def _links(block: Token) -> Iterator[Link]:
    line = (block.map or [0])[0] + 1
    children = block.children or []
    if block.type == "html_block":
        yield from _html_links(block.content, line)
    for position, child in enumerate(children):
        if child.type == "link_open":
            shown = "".join(each.content for each in children[position + 1 :][: _length_of_link(children[position:])])
            yield Link(line, str(child.attrs["href"]), shown, is_picture=False)
        elif child.type == "image":
            yield Link(line, str(child.attrs["src"]), child.content, is_picture=True)
        elif child.type == "html_inline":
            yield from _html_links(child.content, line)


def _html_links(html: str, line: int) -> Iterator[Link]:
    for tag in _HTML_LINK.finditer(html):
        given = {match["name"]: match["value"] for match in _HTML_ATTRIBUTE.finditer(tag[0])}
        is_picture = tag["tag"] == "img"
        target = given.get("src" if is_picture else "href", "")
        if target:
            yield Link(line, target, given.get("alt", "") if is_picture else "", is_picture=is_picture)


def _length_of_link(tokens: list[Token]) -> int:
    return next(position for position, token in enumerate(tokens) if token.type == "link_close")


def anchors(text: str) -> set[str]:
    """What `#...` may name in the Markdown *text* on GitHub: headings, and anchors that are written out."""
    tokens = _PARSER.parse(text)
    headings = [
        heading_anchor(_plain(tokens[position + 1]))
        for position, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    met: Counter[str] = Counter()
    found = set(_NAMED_ANCHOR.findall(text))
    for heading in headings:
        found.add(f"{heading}-{met[heading]}" if met[heading] else heading)
        met[heading] += 1
    return found


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or [] if child.type in {"text", "code_inline"})


def heading_anchor(heading: str, separator: str = "-") -> str:
    """
    The anchor of *heading*, as GitHub makes it; also what the site uses, so that one link fits both.

    >>> heading_anchor("Node.js, `--gate` & more")
    'nodejs---gate--more'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)
