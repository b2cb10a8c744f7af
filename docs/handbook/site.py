"""
MkDocs hook: adds the pages that are written from the code, and the files of the repository that pages link to.

Pages stay as GitHub shows them. A link that leaves `docs/` leads to the file in the repository there; here the file is
copied into the site, or shown as a page where it is Markdown, and the link follows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.handbook import alert_reference, command_reference, config_reference, event_reference, http_reference
from docs.handbook.markdown import ROOT, links

REFERENCE: Mapping[str, Callable[[], str]] = {
    "reference/alerts.md": alert_reference.page,
    "reference/commands.md": command_reference.page,
    "reference/config.md": config_reference.page,
    "reference/events.md": event_reference.page,
    "reference/http.md": http_reference.page,
}
"""What is written from the code, by its place in the site."""

PAGES_ELSEWHERE = {
    ".github/CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
}
"""Pages outside `docs/`, by their place in the repository: where the site shows them."""

FRONT = "README.md"
"""The front page of the repository, and of the site that of `docs/`."""

_FILES = "files"
"""Folder of the site for files of the repository that are no pages."""

_FENCE = re.compile(r"^\s*(```|~~~)")


def on_config(config: MkDocsConfig) -> None:
    """Write out the folders of the navigation, so that a new page in one of them is found without being listed."""
    config.nav = [_written_out(entry) for entry in config.nav or []]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the reference, the pages outside `docs/`, and the files that pages link to."""
    for place, write in REFERENCE.items():
        files.append(File.generated(config, place, content=write()))
    for name, schema in event_reference.schema_files().items():
        files.append(File.generated(config, f"reference/{name}", content=schema))
    for source, place in PAGES_ELSEWHERE.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    for source in sorted(_linked_files(files)):
        place = _place(source)
        if files.get_file_from_path(place) is None:
            files.append(_copied(config, source, place))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let every link that leaves `docs/` follow its file into the site; a page without sections needs no list of them."""
    if "\n## " not in markdown:
        page.meta["hide"] = ["toc"]
    lines, is_code = [], False
    for line in markdown.splitlines(keepends=True):
        is_code ^= bool(_FENCE.match(line))
        lines.append(line if is_code else _relinked(line, page.file.src_uri))
    return "".join(lines)


def _written_out(entry: Any) -> Any:
    match entry:
        case str() if entry.endswith("/"):
            return [entry + path.name for path in _pages_of(ROOT / "docs" / entry)]
        case list():
            written = [_written_out(each) for each in entry]
            return [each for part in written for each in (part if isinstance(part, list) else [part])]
        case dict():
            return {title: _written_out(below) for title, below in entry.items()}
        case _:
            return entry


def _pages_of(folder: Path) -> list[Path]:
    named = [path for path in folder.glob("*.md") if path.name not in {"README.md", "template.md"}]
    return [folder / "README.md", *sorted(named)]


def _linked_files(files: Files) -> Iterator[str]:
    """Files and folders of the repository, outside `docs/`, that pages link to."""
    for file in files.documentation_pages():
        for link in links(file.content_string):
            there = _in_repository(link.target, file.src_uri)
            if there and not there.startswith("docs/") and (ROOT / there).exists():
                yield there


def _in_repository(target: str, place: str) -> str:
    """Where *target*, a link of the page at *place*, leads in the repository; empty for links to elsewhere."""
    parts = urlsplit(target)
    return "" if parts.scheme or parts.netloc or not parts.path else normpath(f"{_source(place)}/../{parts.path}")


def _source(place: str) -> str:
    """The repository's name for the page at *place* in the site."""
    outside = {place: source for source, place in PAGES_ELSEWHERE.items()}
    return outside.get(place, f"docs/{place}")


def _place(source: str) -> str:
    """Where the site shows *source*, a file or folder of the repository."""
    if (ROOT / source).is_dir():
        has_page = (ROOT / source / "README.md").exists()
        return _place(f"{source}/README.md") if has_page else f"{_FILES}/{source}/index.md"
    if source.startswith("docs/"):
        return source.removeprefix("docs/")
    if source == FRONT:
        return source  # the site has a front page of its own, with other headings
    return PAGES_ELSEWHERE.get(source, f"{_FILES}/{source}")


def _relinked(line: str, place: str) -> str:
    def follow(match: re.Match[str]) -> str:
        there = _in_repository(match["target"], place)
        if not there:
            return match[0]
        fragment = "" if there == FRONT else urlsplit(match["target"]).fragment
        return f"]({relpath(_place(there), f'{place}/..')}{f'#{fragment}' if fragment else ''})"

    return re.sub(r"\]\((?P<target>[^)\s]+)\)", follow, line)


def _copied(config: MkDocsConfig, source: str, place: str) -> File:
    path = ROOT / source
    if not path.is_dir():
        return File.generated(config, place, abs_src_path=str(path))
    entries = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    listed = "".join(f"- `{entry.name}`\n" for entry in entries)
    return File.generated(config, place, content=f"# {source}\n\nFiles of this folder of the repository:\n\n{listed}")
