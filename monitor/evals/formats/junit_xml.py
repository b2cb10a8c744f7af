"""JUnit XML, as test runners write it: a test is a case, an error or a skipped test is no failure."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from monitor.evals.cases import Attempt, CaseKey
from monitor.evals.formats.reading import Format, Options, ResultFile, ResultFileInvalid, shortened

_UNSCORED = ("error", "skipped")
_HEAD = 2_000


def read_xml(name: str, content: bytes, _options: Options) -> ResultFile:
    """
    The attempts of a JUnit report.

    Raises:
        ResultFileInvalid: it is not one.
    """
    if b"<!" in content[:_HEAD].replace(b"<!--", b""):  # entities are for attacks, test runners write none
        raise ResultFileInvalid(f"{name} declares a document type, which JUnit XML has none of; write it again.")
    try:
        root = ET.fromstring(content)  # noqa: S314  (without a document type there is no entity to expand)
    except ET.ParseError as error:
        raise ResultFileInvalid(f"{name} is damaged XML ({error}); read a whole copy of it.") from error
    attempts = [_attempt(test) for test in root.iter("testcase")]
    if not attempts:
        raise ResultFileInvalid(f"{name} is XML without a single testcase; name a JUnit report.")
    return ResultFile(name, Format.JUNIT, attempts)


def _attempt(test: ET.Element) -> Attempt:
    failed = test.find("failure")
    because = next((kind for kind in _UNSCORED if test.find(kind) is not None), None)
    told = None if failed is None else failed.get("message") or failed.text
    return Attempt(
        key=CaseKey(test.get("classname", ""), test.get("name", "")),
        passed=None if because else failed is None,
        failure=shortened(told),
        unscored_because=because,
    )
