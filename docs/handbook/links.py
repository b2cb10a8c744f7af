"""
Links: of the Markdown as GitHub shows it, and of the built site as a browser does. Nothing is asked of the network.

`python -m docs.handbook.links site` checks both and exits 1 with one line for every link that leads nowhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docs.handbook.markdown import Link, anchors, links, page_name, pages

_WEB = {"http", "https"}
_ELSEWHERE = {"mailto", "data", "javascript"}
_LOADS = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
"""Attributes that make a browser fetch something without being asked."""


def markdown_problems() -> Iterator[str]:
    """One sentence for every link of a Markdown file that leads nowhere on GitHub, and picture without words."""
    for path in pages():
        for link in links(path.read_text(encoding="utf-8")):
            if problem := _markdown_problem(path, link):
                yield f"{page_name(path)}:{link.line}: {link.target}: {problem}"


def _markdown_problem(page: Path, link: Link) -> str:
    if link.is_picture and not link.text.strip():
        return "a picture without alternative text"
    parts = urlsplit(link.target)
    if parts.scheme or parts.netloc:
        return _web_problem(link.target)
    if parts.path.startswith("/"):
        return "starts with a slash, which means something else on every site"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.exists():
        return "no such file"
    if parts.fragment and target.suffix == ".md" and parts.fragment not in _anchors(target):
        return "no such heading"
    return ""


@cache
def _anchors(path: Path) -> set[str]:
    return anchors(path.read_text(encoding="utf-8"))


def _web_problem(target: str) -> str:
    """What is wrong with the form of an address; whether somebody answers there is not asked."""
    try:
        parts = urlsplit(target)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "not a web address"
    if parts.scheme in _ELSEWHERE:
        return ""
    if parts.scheme not in _WEB:
        return "neither http nor https"
    is_name = (host == "localhost" or "." in host) and " " not in target
    return "" if is_name else "an address without a host"


class _Page(HTMLParser):
    """
    One page of the site, as far as links go.

    Attributes:
        targets: Tag, attribute and value of whatever leads or loads from somewhere.
        unnamed: Sources of pictures without alternative text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[tuple[str, str, str]] = []
        self.unnamed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        self.targets += [(tag, name, given[name]) for name in ("href", "src") if name in given]
        if tag == "img" and not given.get("alt", "").strip():
            self.unnamed.append(given.get("src", ""))


def site_problems(site: Path) -> Iterator[str]:
    """One sentence for every link of the built *site* that leads nowhere or loads something from elsewhere."""
    read = {path.resolve(): _read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in read.items():
        where = path.relative_to(site.resolve())
        for source in page.unnamed:
            yield f"{where}: {source}: a picture without alternative text"
        for tag, attribute, target in page.targets:
            if problem := _site_problem(path, tag, attribute, target, read):
                yield f"{where}: {target}: {problem}"


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


def _site_problem(page: Path, tag: str, attribute: str, target: str, read: dict[Path, _Page]) -> str:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        loads = (tag, attribute) in _LOADS and parts.scheme != "data"
        return "is fetched from elsewhere" if loads else _web_problem(target)
    if parts.path.startswith("/"):
        return "" if page.name == "404.html" else "starts with a slash"
    wanted = (page.parent / unquote(parts.path)).resolve() if parts.path not in {"", "."} else page
    if wanted.is_dir():
        wanted /= "index.html"
    if not wanted.exists():
        return "no such file"
    fragment = unquote(parts.fragment)
    if fragment and wanted in read and fragment not in read[wanted].ids:
        return "no such anchor"
    return ""


def main(arguments: list[str]) -> int:
    """Check the repository and the site that *arguments* name; how many links are broken decides the exit code."""
    problems = [*markdown_problems(), *(problem for name in arguments for problem in site_problems(Path(name)))]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
