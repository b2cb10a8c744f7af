"""Reads a page as a browser would: what its words are, and whether its tags are in order."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta"}


class Reader(HTMLParser):
    """Collects tags, ids and text, and fails on a tag that is closed in the wrong place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._meet(tag, attrs)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._meet(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self._open):
            self.text.append(data)

    def _meet(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name in {"aria-labelledby", "headers"}:
                self.references += (value or "").split()


def words(page: str) -> str:
    """What *page* says, outside of its pictures, in one line."""
    return re.sub(r"\s+", " ", " ".join(Reader(page).text)).replace(" ", " ")
