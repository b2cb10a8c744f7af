"""The script of deploy/action.yml and deploy/gitlab-report.yml, run with stand-ins for `gh` and `curl`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.evals.real_tools import FILES

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CASES = FILES / "cases"
_FORGE = """#!{python}
import json, pathlib, sys
kept, arguments = pathlib.Path({kept!r}), sys.argv[1:]
comments = json.loads(kept.read_text()) if kept.exists() else []
body = [each.partition("@")[2] for each in arguments if each.startswith("body@") or each.startswith("body=@")]
if not body:
    print({listing})
elif "PATCH" in arguments or "PUT" in arguments:
    comments[0]["body"] = pathlib.Path(body[0]).read_text()
else:
    comments.append({{"id": 7, "body": pathlib.Path(body[0]).read_text()}})
kept.write_text(json.dumps(comments))
"""


@pytest.fixture(params=["gh", "curl"])
def forge(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Runs the script in a request of GitHub or GitLab; gives its exit code and the comments that there are then."""
    kept = tmp_path / "comments.json"
    listing = {"gh": 'comments[0]["id"] if comments else ""', "curl": "json.dumps(comments)"}[request.param]
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / request.param
    script.write_text(_FORGE.format(python=sys.executable, kept=str(kept), listing=listing), encoding="utf-8")
    script.chmod(0o755)
    of_forge = {
        "gh": {"GITHUB_TOKEN": "t", "GITHUB_REPOSITORY": "o/r", "PULL_REQUEST": "3"},
        "curl": {"GITLAB_TOKEN": "t", "CI_API_V4_URL": "x", "CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_IID": "3"},
    }[request.param]

    def run(candidate: Path, gate: str) -> tuple[int, list[dict[str, Any]]]:
        floors = tmp_path / "floors.yaml"
        floors.write_text(gate, encoding="utf-8")
        path = os.pathsep.join((str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = {"PATH": path, "BASELINE": str(CASES / "seed_before.csv.gz"), "CANDIDATE": str(candidate)}
        done = subprocess.run(
            [DEPLOY / "report-comment"],
            env={**environment, "GATE": str(floors), "ARGUMENTS": "--capability difficulty", **of_forge},
            capture_output=True,
            check=False,
            timeout=500,
        )
        assert b"cannot be written" not in done.stderr
        return done.returncode, json.loads(kept.read_text(encoding="utf-8"))

    return run


@pytest.mark.slow
def test_one_comment_is_kept_up_to_date(forge: Any, tmp_path: Path) -> None:
    """Open, closed, unreadable: exit codes 0, 1 and 2, and always the same comment."""
    after = CASES / "seed_after.csv.gz"
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    runs = [
        forge(after, "verdict: [cliff]"),
        forge(after, "verdict: [ok]"),
        forge(tmp_path / "empty.csv", "verdict: [ok]"),
    ]

    assert [0, 1, 2] == [code for code, _ in runs]
    assert [1, 1, 1] == [len(comments) for _, comments in runs]
    bodies = [comments[0]["body"] for _, comments in runs]
    assert "**Gate: open" in bodies[0]
    assert "**Gate: closed" in bodies[1]
    assert "is empty; name a file with results" in bodies[2]
    assert all(body.startswith("<!-- cliffwatch report -->") for body in bodies)


def test_action_and_snippet_give_the_script_what_it_reads() -> None:
    """Every variable that the script names is set by the action; the snippet runs the same script."""
    script = (DEPLOY / "report-comment").read_text(encoding="utf-8")
    action = yaml.safe_load((DEPLOY / "action.yml").read_text(encoding="utf-8"))
    step = action["runs"]["steps"][-1]
    snippet = yaml.safe_load((DEPLOY / "gitlab-report.yml").read_text(encoding="utf-8"))

    assert "report-comment" in step["run"]
    assert all(name in script for name in step["env"])
    assert {"baseline", "candidate", "gate", "arguments", "version", "token"} == set(action["inputs"])
    assert "bash deploy/report-comment" in snippet["cliffwatch-report"]["script"]
