"""
Known vulnerabilities of the locked dependencies: `python -m deploy.audit` asks pip-audit, and believes only answers.

pip-audit ends with success where it could ask nobody, and reports each package as skipped; here that is an error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOCKS = (Path(__file__).parents[1] / "requirements.lock", Path(__file__).with_name("build.lock"))

EXIT_FOUND, EXIT_UNREACHABLE = 1, 3


@dataclass(frozen=True, slots=True)
class Audit:
    """
    What an audit of one lock file found.

    Attributes:
        audited: Packages that somebody answered for.
        unanswered: Packages that nobody answered for.
        vulnerable: One sentence for each known vulnerability.
    """

    audited: Sequence[str]
    unanswered: Sequence[str]
    vulnerable: Sequence[str]


def main() -> int:
    """Audit every lock file and print what was found; the exit code."""
    return max(_audit(lock) for lock in LOCKS)


def _audit(lock: Path) -> int:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
    done = subprocess.run(  # noqa: S603 - our own interpreter and file names
        [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    text, code = judge(lock.name, done.stdout)
    print(text)  # noqa: T201 - the answer of a command
    return code


def judge(name: str, report: str) -> tuple[str, int]:
    """What pip-audit's JSON *report* on the lock file *name* means: a text and an exit code."""
    try:
        audit = read_report(report)
    except (ValueError, KeyError, TypeError):
        return (
            (
                f"{name}: nothing was audited, since no vulnerability service could be reached; "
                "run `make audit` where pypi.org or api.osv.dev can be."
            ),
            EXIT_UNREACHABLE,
        )
    if audit.vulnerable:
        return "\n".join(f"{name}: {sentence}" for sentence in audit.vulnerable), EXIT_FOUND
    if audit.unanswered:
        return (
            (
                f"{name}: {len(audit.unanswered)} of {len(audit.unanswered) + len(audit.audited)} packages were not "
                f"audited, {audit.unanswered[0]} among them: the vulnerability service does not know them or cannot be "
                "reached; run `make audit` where pypi.org can be."
            ),
            EXIT_UNREACHABLE,
        )
    return f"{name}: no known vulnerability in {len(audit.audited)} packages.", 0


def read_report(report: str) -> Audit:
    """
    The audit that pip-audit's JSON *report* tells of.

    Raises:
        ValueError: it is no report, or one of no package.
    """
    packages = json.loads(report)["dependencies"]
    if not packages:
        raise ValueError("the report names no package")
    return Audit(
        audited=[package["name"] for package in packages if "skip_reason" not in package],
        unanswered=[package["name"] for package in packages if "skip_reason" in package],
        vulnerable=[
            f"{package['name']} {package['version']} has {found['id']}, mended in "
            f"{', '.join(found['fix_versions']) or 'no release yet'}; run `make lock` and read its notes"
            for package in packages
            for found in package.get("vulns", ())
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
