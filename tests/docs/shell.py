"""Shell blocks of the documentation as commands: what a person would type, one after the other."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_SEPARATORS = {"&&", "||", ";", "|", "&"}
_REDIRECTIONS = {">", ">>", "<", "2>"}
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command.

    Attributes:
        words: Program and arguments.
        settings: Environment variables that stand before it, or that it exports.
    """

    words: tuple[str, ...]
    settings: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """Name of the program, without the folder of a virtual environment."""
        return self.words[0].removeprefix(".venv/bin/") if self.words else ""


def commands(text: str) -> Iterator[Command]:
    """
    The commands of a shell block.

    Raises:
        ValueError: it holds what is not told apart here, such as a quote that does not end.
    """
    for line in _lines(text):
        yield from _split(_words(line))


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    return list(lexer)


def _lines(text: str) -> Iterator[str]:
    """Lines with their continuations, without comments that stand alone and without here-documents."""
    until = ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if until:
            until = "" if line.strip() == until else until
            continue
        if match := _HERE_DOCUMENT.search(line):
            until = match[1]
        yield _HERE_DOCUMENT.sub("", line)


def _split(words: list[str]) -> Iterator[Command]:
    found: list[str] = []
    is_target = False
    for word in [*words, ";"]:
        if is_target:
            is_target = False
        elif word in _REDIRECTIONS:
            is_target = True
        elif word in _SEPARATORS:
            if found:
                yield _command(found)
            found = []
        else:
            found.append(word)


def _command(words: list[str]) -> Command:
    before = 0
    while before < len(words) and _ASSIGNMENT.match(words[before]):
        before += 1
    settings, rest = words[:before], words[before:]
    if rest[:1] == ["export"]:
        return Command((), (*settings, *rest[1:]))
    return Command(tuple(rest), tuple(settings))
