"""What is remembered of a request: names and hashes that say which requests are alike, never its text."""

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
# over all others at once; tried one after the other they would cost five times as much.
_VARIABLE_PART = re.compile(
    r"""["'h\d](?:(?<=")[^"]*"|(?<=')[^']{1,80}'|(?<=\d)\d*(?:[.,:/-]\d+)*|(?<=h)ttps?://\S+)"""
)
_UNBROKEN = re.compile(r"\S+")


class RequestFeatures(Struct, frozen=True, gc=False):
    """
    Identity of a request at four widths, from one item to its capability; storable without its text.

    Attributes:
        capability: Class of the request.
        item: The `request_id`, or None where the request does not say that it comes again.
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
        """Deviations that *value* lies above the mean, kept within 4: one odd request must not move a weight far."""
        if not self.deviation > 0 or value != value:  # noqa: PLR0124  (NaN)
            return 0.0
        return max(-_LARGEST_DEVIATION, min(_LARGEST_DEVIATION, (value - self.mean) / self.deviation))


@dataclass(frozen=True, slots=True)
class LabelledRequest:
    """One labelled request, as the estimator learns from it; *started_at* is Unix seconds."""

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
    """Hash of *text* that stands for all texts which differ from it only in masked parts."""
    return (_family if len(text) <= _LONGEST_TEXT else _family.__wrapped__)(text)


_LONGEST_TEXT = 16_384  # characters; as many as are remembered are 4 MB


@lru_cache(maxsize=256)  # all model calls of a run ask the same
def _family(text: str) -> str:
    return hash_of(_template(text))


def indicators(features: RequestFeatures, item: str | None, scales: Mapping[str, Scale]) -> dict[str, float]:
    """
    What the estimator sees of a request: feature name to value, the group before the first ``=``.

    Args:
        features: Identity of the request at its widths.
        item: What the request is known as, where it comes again.
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
    # A prompt that is quoted as a whole keeps its words: masked, all such prompts would be one family.
    words = islice(_WORD.finditer(template), _FEWEST_WORDS)
    return template if sum(1 for _ in words) == _FEWEST_WORDS else text.lower()


def masked(text: str) -> str:
    r"""
    *text* with quoted strings, numbers, web and mail addresses masked, in time proportional to its length.

    Masked is what ``"[^"]*"|'[^']{1,80}'|\d+(?:[.,:/-]\d+)*|https?://\S+|\S+@\S+`` finds. Its last part is looked for
    apart: tried at each character, it would run to the end of the word in search of an ``@``, and a text of a million
    characters without a space would take a day.

    >>> masked("Mail bob@example.com 12.5 times")
    'Mail # # times'
    """
    return _masked_with_addresses(text) if "@" in text else _VARIABLE_PART.sub(_MASK, text)


def _masked_with_addresses(text: str) -> str:
    kept, at = [], 0
    part = _VARIABLE_PART.search(text)
    for begin, last_at, end in _mail_addresses(text):
        # Up to its last @ any part of the word would do for an address, but what begins there as another part is first.
        while (begin := max(begin, at)) < last_at:
            while part is not None and part.start() < at:
                part = _VARIABLE_PART.search(text, at)
            start, stop = (begin, end) if part is None or part.start() > begin else part.span()
            kept.append(text[at:start])
            at = stop
    kept.append(_VARIABLE_PART.sub(_MASK, text[at:]))
    return _MASK.join(kept)


def _mail_addresses(text: str) -> Iterator[tuple[int, int, int]]:
    """Of each unbroken part of *text* that holds an @ with something after it: its begin, the last such @, its end."""
    for word in _UNBROKEN.finditer(text):
        begin, end = word.span()
        last_at = text.rfind("@", begin, end - 1)
        if last_at > begin:
            yield begin, last_at, end


def tool_set(tools: tuple[Tool, ...]) -> str:
    """Hash of all that *tools* say, in any order."""
    length = sum([len(tool.description) + len(tool.parameters) for tool in tools])
    return (_tool_set if length <= _MOST_REMEMBERED_CHARACTERS else _tool_set.__wrapped__)(tools)


_MOST_REMEMBERED_CHARACTERS = 32_768  # of one set: a thousand hostile ones are 30 MB


@lru_cache(maxsize=1_024)  # an agent offers the same few sets of tools all day
def _tool_set(tools: tuple[Tool, ...]) -> str:
    return hash_of("\n".join(sorted(f"{tool.name}\t{tool.description}\t{tool.parameters}" for tool in tools)))
