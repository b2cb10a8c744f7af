"""The attributes of one span as facts, by the table of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from monitor.trace.messages import parsed
from monitor.trace.semconv import ATTRIBUTES, Field, table
from monitor.trace.values import read_json

_T = TypeVar("_T")

_LONGEST_INDEX = len("9999")


class Meaning(NamedTuple):
    """
    What the name of an attribute means.

    Attributes:
        fact: What its value is.
        rank: Row of the name in the table, best first.
        is_quoted: Whether its library writes every value as JSON, so a text is in quotes.
        prefix: Common prefix of its family; empty for a single name.
        rest: The name after the prefix.
    """

    fact: Field
    rank: int
    is_quoted: bool = False
    prefix: str = ""
    rest: str = ""


_QUOTED = ("mlflow.", "braintrust.", "genkit:", "model")
_MEANINGS = {
    row.name: Meaning(row.fact, rank, row.name.startswith(_QUOTED), row.prefix) for rank, row in enumerate(ATTRIBUTES)
}
_NAMES = {name: meaning for name, meaning in _MEANINGS.items() if not meaning.prefix}
_WRITTEN = [(_NAMES[row["name"]], row["value"]) for row in table("agents.csv")]
WRITTEN_AT_ONCE = [(meaning.fact, (meaning.rank, value)) for meaning, value in _WRITTEN]
"""Fact, rank and value of what a library writes on an agent's span although it writes more at any end of its own."""
_FAMILIES = {meaning.prefix: meaning for meaning in _MEANINGS.values() if meaning.prefix}
_PREFIXES = tuple(_FAMILIES)
_EVALUATIONS = frozenset(prefix for prefix in _PREFIXES if _FAMILIES[prefix].fact is Field.EVALUATION)
_EVALUATION_PARTS = {
    "name": Field.EVALUATION_NAME,
    "score": Field.EVALUATION_SCORE,
    "label": Field.EVALUATION_LABEL,
    "annotator_kind": Field.EVALUATION_SOURCE,
}
_REQUEST_ATTRIBUTES = next(prefix for prefix in _PREFIXES if _FAMILIES[prefix].fact is Field.REQUEST_ATTRIBUTE)
_ON_ANY_SPAN = _EVALUATIONS | {_REQUEST_ATTRIBUTES}


MESSAGE_KEYS = ("content", "message", "parts", "gen_ai.event.content")
"""Attributes of an event with the content of a message, best first."""


_PROVIDER = re.compile(r"^llm\.[a-z_]+\.")


def meaning_of(name: str) -> Meaning | None:
    """The meaning of an attribute by its *name*, single or in a family; None if the table does not list it."""
    single = _NAMES.get(name)
    if single is None and name[:4] == "llm.":  # the name may include that of a provider
        single = _NAMES.get(_PROVIDER.sub("llm.PROVIDER.", name))
    if single is not None or not name.startswith(_PREFIXES):
        return single
    family = next(_FAMILIES[prefix] for prefix in _PREFIXES if name.startswith(prefix))
    return family._replace(rest=name[len(family.prefix) :])


class SpanAttributes(Struct, gc=False):
    """
    Values of attributes by fact.

    Attributes:
        singles: Rank in the table and value, by fact; best rank first.
        families: Values of flattened families, by prefix and by the rest of the name.
        looked_at: Values of the attributes that rules of the settings read.
        messages: Messages from events, in their order.
        telling: The uses of all attributes in order, each followed by its value if that determines the kind of the
            span; None if such a value is not a short text, or if any attribute belongs to a family.
    """

    singles: dict[Field, list[tuple[int, Any]]] = {}
    families: dict[str, dict[str, Any]] = {}
    looked_at: dict[str, Any] = {}
    messages: dict[Field, list[dict[str, Any]]] = {}
    telling: Sequence[Any] | None = None

    def add_message(self, fact: Field, role: str, attributes: Mapping[str, Any]) -> None:
        """Keep the message in an event with these *attributes*."""
        content = next((attributes[key] for key in MESSAGE_KEYS if attributes.get(key) is not None), None)
        self.messages.setdefault(fact, []).append({"role": role, "content": parsed(content)})

    def first(self, fact: Field, read: Callable[[Any], _T | None]) -> _T | None:
        """The first value of *fact*, best name first, for which *read* returns one."""
        for _, value in self.singles.get(fact, ()):
            if (found := read(value)) is not None:
                return found
        return None

    def values(self, fact: Field) -> list[Any]:
        """Values of *fact* under single names, best name first."""
        return [value for _, value in self.singles.get(fact, ())]

    def documents(self, fact: Field) -> Iterator[Any]:
        """The values of `written` with JSON parsed."""
        return map(parsed, self.written(fact))

    def written(self, fact: Field) -> list[Any]:
        """Values of *fact* under any name, best name first; flattened lists are put together."""
        ranked = self.singles.get(fact, [])
        for prefix, held in self.families.items():
            if (family := _FAMILIES[prefix]).fact is fact and (items := [*map(_unflattened, _indexed(held))]):
                ranked = sorted([*ranked, (family.rank, items)], key=itemgetter(0))
        values = [value for _, value in ranked]
        return [self.messages[fact], *values] if fact in self.messages else values

    def evaluations(self) -> Iterator[SpanAttributes]:
        """Evaluations in attributes of the span itself."""
        for prefix in _EVALUATIONS if self.families else ():
            for item in _indexed(self.families.get(prefix, {})):
                parts = {_EVALUATION_PARTS.get(name.rpartition(".")[2]): value for name, value in item.items()}
                yield SpanAttributes({fact: [(0, value)] for fact, value in parts.items() if fact is not None})

    def request_attributes(self) -> Mapping[str, Any]:
        """What the sender knew at request time, by name."""
        return self.families.get(_REQUEST_ATTRIBUTES, {})

    def has_messages_or_tools(self) -> bool:
        """Whether any family shows what the span does; evaluations and request attributes may be on any span."""
        return not self.families.keys() <= _ON_ANY_SPAN


def unquoted(value: Any) -> Any:
    """*value* without the quotes of JSON that some libraries put around a text."""
    is_quoted = isinstance(value, str) and value[:1] == value[-1:] == '"'
    with suppress(ValueError):
        return read_json(value) if is_quoted else value
    return value


def _indexed(flattened: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Items of a flattened list in order of their index; names without the index."""
    items: dict[int, dict[str, Any]] = {}
    for name, value in flattened.items():
        index, _, rest = name.partition(".")
        if index.isascii() and index.isdigit() and len(index) <= _LONGEST_INDEX:
            items.setdefault(int(index), {})[rest] = value
    return [items[index] for index in sorted(items)]


def _unflattened(item: Mapping[str, Any]) -> Any:
    """A flattened message, prompt or tool as an object, without the parts that are never read."""
    if (schema := item.get("tool.json_schema")) is not None:
        return schema
    message: dict[str, Any] = {}
    parts: list[tuple[str, Any]] = []
    for name, value in item.items():
        if name in {"message.role", "role"}:
            message["role"] = value
        elif name in {"message.content", "content", "prompt.text"} or name.endswith("message_content.text"):
            parts.append((name, value))
        elif name.rpartition(".")[2] not in {"type", "id", "finish_reason"}:
            message[name] = value
    if len(parts) > 1:
        parts.sort(key=lambda part: _natural(part[0]))
    # One attribute may hold all parts of a message.
    message["content"] = [parsed(value) if str(value)[:2] == "[{" else value for _, value in parts]
    return message


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in name.split(".")]
