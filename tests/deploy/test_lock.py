from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGE_EXTRAS = ("kafka-codecs", "postgres")
PYTHONS = tuple(
    found[1] for line in PROJECT["project"]["classifiers"] if (found := re.fullmatch(r".* :: Python :: (3\.\d+)", line))
)
LOCKS = ("requirements.lock", "deploy/build.lock")

_PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>.+?))? \\\n(?P<rest>(?:    .+\n)+)")


@dataclass(frozen=True)
class Pin:
    """One package of a lock file, on the platforms that its marker says."""

    name: str
    version: Version
    marker: str
    hashes: tuple[str, ...]

    def applies(self, python: str) -> bool:
        environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
        return not self.marker or Marker(self.marker).evaluate(environment)


def pins(lock: str) -> list[Pin]:
    text = (ROOT / lock).read_text()
    return [
        Pin(
            found["name"],
            Version(found["version"]),
            found["marker"] or "",
            tuple(re.findall(r"sha256:[0-9a-f]{64}", found[0])),
        )
        for found in _PIN.finditer(text)
    ]


def version_of(lock: str, name: str, python: str) -> Version:
    """The one version of a package that a Python version gets."""
    (pin,) = [pin for pin in pins(lock) if pin.name == canonicalize_name(name) and pin.applies(python)]
    return pin.version


def required() -> Iterator[Requirement]:
    project = PROJECT["project"]
    for line in (
        *project["dependencies"],
        *(line for extra in IMAGE_EXTRAS for line in project["optional-dependencies"][extra]),
    ):
        yield Requirement(line)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", list(required()), ids=str)
def test_what_pyproject_asks_for_is_locked_within_its_bounds(requirement: Requirement, python: str) -> None:
    """A new dependency or bound needs `make lock`; the image has what its extras name."""
    assert version_of("requirements.lock", requirement.name, python) in requirement.specifier


def test_what_builds_the_wheel_is_locked_as_well() -> None:
    """The build system of pyproject.toml and the input of its lock are the same."""
    (asked,) = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    (named,) = [line for line in (ROOT / "deploy/build.in").read_text().splitlines() if not line.startswith("#")]

    assert str(asked) == named
    assert version_of("deploy/build.lock", asked.name, PYTHONS[-1]) in asked.specifier


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes(lock: str) -> None:
    """Each line that is not a comment is part of a pin, and each pin has a hash that pip will check."""
    locked = pins(lock)
    beginnings = [line for line in (ROOT / lock).read_text().splitlines() if line and line[0] not in " #"]

    assert len(beginnings) == len(locked) > 3
    assert [] == [pin for pin in locked if not pin.hashes]


@pytest.mark.parametrize("lock", LOCKS)
def test_nothing_is_fetched_from_elsewhere(lock: str) -> None:
    """No address, no version control, no file: what is locked comes from the index that pip is told of."""
    assert not re.search(r"(?i)https?:|git\+|file:| @ |--(extra-)?index-url|--find-links", (ROOT / lock).read_text())


def test_the_image_installs_nothing_that_is_not_locked() -> None:
    """Every installation checks hashes, or is of the wheel that was built a line before, without dependencies."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    installs = re.findall(r"pip (?:install|wheel) .*", dockerfile)

    assert "PIP_REQUIRE_HASHES=1" in dockerfile
    assert "PIP_ONLY_BINARY=:all:" in dockerfile
    assert 4 == len(installs)
    assert [] == [line for line in installs if (".lock" in line) == ("--no-deps" in line)]


def test_the_build_context_holds_what_the_image_copies() -> None:
    """`COPY` finds its files behind .dockerignore, and there is no more behind it."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_in = {line[1:] for line in ignored if line.startswith("!")}

    assert {name for line in copied for name in line.split()} == let_in - {"deploy"}
