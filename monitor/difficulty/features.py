"""Features of a request: names and hashes that identify similar requests, never its text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Annotated, NamedTuple

from annotated_types import Ge
from msgspec import Struct

from monitor.trace.model import Request, Tool, hash_of

_WORD = re.compile(r"[^\W\d_]+")
_FEWEST_WORDS = 3
_LARGEST_DEVIATION = 4.0
_MASK = "#"
# A quoted string, a number or a web address. Each begins with a character of the first set, so that the search skips
# all other characters at once; separate alternatives would take five times as long.
_VARIABLE_PART = re.compile(
    r"""["'h\d](?:(?<=")[^"]*"|(?<=')[^']{1,80}'|(?<=\d)\d*(?:[.,:/-]\d+)*|(?<=h)ttps?://\S+)"""
)
_UNBROKEN = re.compile(r"\S+")


class RequestFeatures(Struct, frozen=True, gc=False):
    """
    Identity of a request at four levels, from one item to its capability; storable without its text.

    Attributes:
        capability: Class of the request.
        item: The `request_id` of a repeated request, or None.
        tool_set: Hash of the tools on offer (names, descriptions, schemas; in any order), or None without tools.
        prompt_family: Hash of the text with quoted strings, numbers and addresses masked, or None without text.
        attributes: Numbers and short strings known at request time.
    """

    capability: str
    item: str | None = None
    tool_set: str | None = None
    prompt_family: str | None = None
    attributes: Mapping[str, float | str] = {}


class Scale(NamedTuple):
    """Mean and standard deviation of a numeric attribute, in its own unit."""

    mean: float
    deviation: Annotated[float, Ge(0)]

    def standardise(self, value: float) -> float:
        """Deviations of *value* above the mean, limited to 4 so that one outlier does not change a weight much."""
        if not self.deviation > 0 or value != value:  # noqa: PLR0124  (NaN)
            return 0.0
        return max(-_LARGEST_DEVIATION, min(_LARGEST_DEVIATION, (value - self.mean) / self.deviation))


@dataclass(frozen=True, slots=True)
class LabelledRequest:
    """One labelled request for the estimator; *started_at* is Unix seconds."""

    features: RequestFeatures
    model_version: str
    failed: bool
    started_at: float


def request_features(request: Request) -> RequestFeatures:
    """Features of *request*; two requests that differ only in masked parts have the same family."""
    return RequestFeatures(
        capability=request.capability,
        item=request.request_id,
        tool_set=tool_set(request.tools) if request.tool_set is None and request.tools else request.tool_set,
        prompt_family=prompt_family(request.text) if request.text else request.prompt_family,
        attributes=request.attributes,
    )


def prompt_family(text: str) -> str:
    """Hash of *text*, the same for all texts that differ only in masked parts."""
    return (_family if len(text) <= _LONGEST_TEXT else _family.__wrapped__)(text)


_LONGEST_TEXT = 16_384  # characters; a full cache of such texts takes 4 MB


@lru_cache(maxsize=256)  # all model calls of a run have the same text
def _family(text: str) -> str:
    return hash_of(_template(text))


def indicators(features: RequestFeatures, item: str | None, scales: Mapping[str, Scale]) -> dict[str, float]:
    """
    Values of a request for the estimator by feature name, which begins with its group up to the first ``=``.

    Args:
        features: Identity of the request.
        item: Name of the item, or None.
        scales: Mean and deviation per numeric attribute; numbers without one are left out.

    >>> indicators(RequestFeatures(capability="sql"), item="probe-17", scales={})
    {'capability=sql': 1.0, 'item=probe-17': 1.0}
    """
    x = {f"capability={features.capability}": 1.0}
    for group, name in (("tools", features.tool_set), ("prompt", features.prompt_family), ("item", item)):
        if name is not None:
            x[f"{group}={name}"] = 1.0
    for name, value in features.attributes.items():
        if isinstance(value, str):
            x[f"attribute={name}={value}"] = 1.0
        elif name in scales:
            x[f"number={name}"] = scales[name].standardise(value)
    return x


def _template(text: str) -> str:
    template = masked(text).lower()
    # A prompt that is quoted as a whole is not masked, or all such prompts would be one family.
    words = islice(_WORD.finditer(template), _FEWEST_WORDS)
    return template if sum(1 for _ in words) == _FEWEST_WORDS else text.lower()


def masked(text: str) -> str:
    r"""
    *text* with quoted strings, numbers, web and mail addresses masked, in time proportional to its length.

    It masks the matches of ``"[^"]*"|'[^']{1,80}'|\d+(?:[.,:/-]\d+)*|https?://\S+|\S+@\S+``. The last part is searched
    separately: as a regular expression it would scan to the end of the word from each character, and a text of a
    million characters without a space would take a day.

    >>> masked("Mail bob@example.com 12.5 times")
    'Mail # # times'
    """
    return _masked_with_addresses(text) if "@" in text else _VARIABLE_PART.sub(_MASK, text)


def _masked_with_addresses(text: str) -> str:
    unmasked, at = [], 0
    part = _VARIABLE_PART.search(text)
    for begin, last_at, end in _mail_addresses(text):
        # An address may begin anywhere in the word before its last @, but another variable part that begins there wins.
        while (begin := max(begin, at)) < last_at:
            while part is not None and part.start() < at:
                part = _VARIABLE_PART.search(text, at)
            start, stop = (begin, end) if part is None or part.start() > begin else part.span()
            unmasked.append(text[at:start])
            at = stop
    unmasked.append(_VARIABLE_PART.sub(_MASK, text[at:]))
    return _MASK.join(unmasked)


def _mail_addresses(text: str) -> Iterator[tuple[int, int, int]]:
    """Start, position of the last @, and end of each word of *text* that has an @ inside."""
    for word in _UNBROKEN.finditer(text):
        begin, end = word.span()
        last_at = text.rfind("@", begin, end - 1)
        if last_at > begin:
            yield begin, last_at, end


def tool_set(tools: tuple[Tool, ...]) -> str:
    """Hash of names, descriptions and schemas of *tools*, independent of their order."""
    length = sum([len(tool.description) + len(tool.parameters) for tool in tools])
    return (_tool_set if length <= _MOST_REMEMBERED_CHARACTERS else _tool_set.__wrapped__)(tools)


_MOST_REMEMBERED_CHARACTERS = 32_768  # of one set; a full cache takes up to 30 MB


@lru_cache(maxsize=1_024)  # an agent offers the same few sets of tools all day
def _tool_set(tools: tuple[Tool, ...]) -> str:
    return hash_of("\n".join(sorted(f"{tool.name}\t{tool.description}\t{tool.parameters}" for tool in tools)))
