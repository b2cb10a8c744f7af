"""JUnit XML, as test runners write it: a test is a case, an error or a skipped test is no failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from monitor.evals.formats.reading import Options, ResultFileInvalid

_UNSCORED = ("error", "skipped")
_HEAD = 2_000


def case_rows(name: str, content: bytes, _options: Options) -> Sequence[Mapping[str, str | bool | None]]:
    """
    One row per test of a JUnit report.

    Raises:
        ResultFileInvalid: it is not one.
    """
    if b"<!" in content[:_HEAD].replace(b"<!--", b""):  # entities are for attacks, test runners write none
        raise ResultFileInvalid(f"{name} declares a document type, which JUnit XML has none of; write it again.")
    try:
        root = ET.fromstring(content)  # noqa: S314  (without a document type there is no entity to expand)
    except ET.ParseError as error:
        raise ResultFileInvalid(f"{name} is damaged XML ({error}); read a whole copy of it.") from error
    rows = [_row(test) for test in root.iter("testcase")]
    if not rows:
        raise ResultFileInvalid(f"{name} is XML without a single testcase; name a JUnit report.")
    return rows


def _row(test: ET.Element) -> Mapping[str, str | bool | None]:
    failed = test.find("failure")
    return {
        "task": test.get("classname"),
        "name": test.get("name"),
        "passed": failed is None,
        "status": next((kind for kind in _UNSCORED if test.find(kind) is not None), None),
        "failure": None if failed is None else failed.get("message") or failed.text,
    }
