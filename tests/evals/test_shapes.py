"""
Ten cases, of which 8 and then 5 pass, in the shapes that eval tools give them.

Each shape is made of the names and the nesting of one tool, or of what people make of them in a spreadsheet.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command

Shape = Callable[[str, Sequence[int]], Any]
PASSED = {"a": (1, 1, 1, 1, 1, 1, 1, 1, 0, 0), "b": (1, 1, 1, 1, 1, 0, 0, 0, 0, 0)}
CASES = tuple(f"case-{n}" for n in range(10))


def asked(n: int) -> str:
    return f"What is {n} + {n}?"


def each(make: Callable[[int, int], Any]) -> Callable[[str, Sequence[int]], list[Any]]:
    """A list with a row for each case, by its number and whether it passed."""
    return lambda _, passed: [make(n, was) for n, was in enumerate(passed)]


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    return text.getvalue()


def word(was: int, good: str = "pass", bad: str = "fail") -> str:
    return good if was else bad


SHAPES: dict[str, Shape] = {
    "Azure AI evaluation": lambda _, passed: {
        "rows": [
            {"inputs.query": asked(n), "outputs.f1.f1_score": float(was), "outputs.f1.f1_result": word(was)}
            for n, was in enumerate(passed)
        ],
        "metrics": {"f1.f1_score": 0.5},
    },
    "MLflow 3, traces": lambda side, passed: [
        {
            "trace_id": f"{side}{n}",
            "request": {"question": asked(n)},
            "assessments": [
                {"assessment_name": "expected_response", "expectation": {"value": "4"}},
                {"assessment_name": "correctness", "feedback": {"value": word(was, "yes", "no")}},
            ],
        }
        for n, was in enumerate(passed)
    ],
    "MLflow 3, table": lambda side, passed: {
        "columns": ["trace_id", "request", "correctness/value", "correctness/rationale"],
        "data": [[f"{side}{n}", asked(n), word(was, "yes", "no"), "so"] for n, was in enumerate(passed)],
    },
    "MLflow, exact match": lambda _, passed: table(
        ["inputs", "outputs", "exact_match/v1"], [(asked(n), "x", bool(was)) for n, was in enumerate(passed)]
    ),
    "LangSmith, averages": each(
        lambda n, was: {"reference_example_id": CASES[n], "feedback_stats": {"right": {"n": 1, "avg": was}}}
    ),
    "SimpleQA": each(lambda n, was: {"problem": asked(n), "grade": word(was, "CORRECT", "NOT_ATTEMPTED")}),
    "attempts by case": lambda _, passed: {CASES[n]: [{"passed": bool(was)}] * 2 for n, was in enumerate(passed)},
    "attempts in cases": lambda _, passed: {
        "cases": [{"id": CASES[n], "attempts": [{"passed": bool(was)}] * 2} for n, was in enumerate(passed)]
    },
    "rates that were added up": each(lambda n, was: {"id": CASES[n], "score": was * sum([0.1] * 10)}),
    "Phoenix, several metrics": each(
        lambda n, was: {
            "example_id": CASES[n],
            "annotations": [{"name": "fit", "score": was}, {"name": "b", "score": 1}],
        }
    ),
    "BrowserGym": lambda _, passed: table(
        ["env.task_name", "env.task_seed", "cum_reward"], [(CASES[n], 0, float(was)) for n, was in enumerate(passed)]
    ),
    "words by case": lambda _, passed: {CASES[n]: word(was, "PASSED", "FAILED") for n, was in enumerate(passed)},
    "scores by case": lambda _, passed: {CASES[n]: float(was) for n, was in enumerate(passed)},
    "SWE-bench, first version": lambda _, passed: {
        "generated": list(CASES),
        "applied": list(CASES[:9]),
        "resolved": [CASES[n] for n, was in enumerate(passed) if was],
    },
    "lighteval": each(lambda n, was: {"doc": {"id": str(n)}, "metric": {"extractive_match": float(was)}}),
    "Vertex AI": lambda _, passed: table(
        ["prompt", "exact_match/score"], [(asked(n), float(was)) for n, was in enumerate(passed)]
    ),
    "JUnit in a namespace": lambda _, passed: '<testsuites xmlns="urn:x"><testsuite>{}</testsuite></testsuites>'.format(
        "".join(f'<testcase name="{CASES[n]}">{word(was, "", "<failure/>")}</testcase>' for n, was in enumerate(passed))
    ),
    "JUnit with CDATA": lambda _, passed: "<testsuite>{}</testsuite>".format(
        "".join(
            f'<testcase name="{CASES[n]}">{word(was, "", "<failure><![CDATA[<!DOCTYPE html>]]></failure>")}</testcase>'
            for n, was in enumerate(passed)
        )
    ),
    "JUnit in UTF-16": lambda _, passed: '<?xml version="1.0" encoding="UTF-16"?><testsuite>{}</testsuite>'.format(
        "".join(f'<testcase name="{CASES[n]}">{word(was, "", "<failure/>")}</testcase>' for n, was in enumerate(passed))
    ).encode("utf-16"),
    "Mocha": lambda _, passed: {
        "stats": {"tests": 10},
        "tests": [{"fullTitle": CASES[n], "state": word(was, "passed", "failed")} for n, was in enumerate(passed)],
    },
    "IFEval": each(
        lambda n, was: {"key": n, "prompt": asked(n), "follow_all_instructions": bool(was), "follow_list": [True]}
    ),
    "Ragas, one score": lambda _, passed: table(
        ["user_input", "response", "answer_correctness"], [(asked(n), "x", float(was)) for n, was in enumerate(passed)]
    ),
    "Google ADK": lambda side, passed: {
        "eval_set_id": "suite",
        "eval_case_results": [
            {
                "eval_id": CASES[n],
                "final_eval_status": 2 - was,
                "overall_eval_metric_results": [{"metric_name": "response_match_score", "score": float(was)}],
                "session_id": f"{side}{n}",
            }
            for n, was in enumerate(passed)
        ],
    },
    "Patronus": lambda _, passed: {
        "results": [{"evaluated_model_input": asked(n), "pass": bool(was)} for n, was in enumerate(passed)]
    },
    "parts of a reward": each(lambda n, was: {"task": {"id": CASES[n]}, "reward": {"total": float(was)}}),
    "spreadsheet, a hint in the header": lambda _, passed: table(
        ["Test Case ID", "Passed (Y/N)"], [(CASES[n], word(was, "Y", "N")) for n, was in enumerate(passed)]
    ),
    "YAML list": lambda _, passed: "".join(
        f"- id: {CASES[n]}\n  is_pass: {word(was, 'true', 'false')}\n" for n, was in enumerate(passed)
    ),
    "numbered anew in each subject": each(
        lambda n, was: {"subject": ("law", "biology")[n % 2], "id": n // 2, "correct": bool(was)}
    ),
    "BigCodeBench": lambda _, passed: {
        "date": "2026-11-01",
        "eval": {f"BCB/{n}": [{"task_id": f"BCB/{n}", "status": word(was)}] for n, was in enumerate(passed)},
    },
    "Braintrust": lambda side, passed: [
        {"id": f"{side}{n}", "input": asked(n), "output": "x", "error": None, "scores": {"Factuality": was}}
        for n, was in enumerate(passed)
    ],
    "Bedrock": lambda _, passed: "\n".join(
        json.dumps(
            {
                "automatedEvaluationResult": {"scores": [{"metricName": "Builtin.Correctness", "result": float(was)}]},
                "inputRecord": {"prompt": asked(n)},
                "modelResponses": [{"response": "x", "modelIdentifier": "m"}],
            }
        )
        for n, was in enumerate(passed)
    ),
    "assertions of each case": lambda _, passed: {
        "run": {
            "cases": [
                {
                    "name": CASES[n],
                    "assertions": [{"name": "format", "passed": True}, {"name": "answer", "passed": bool(was)}],
                }
                for n, was in enumerate(passed)
            ]
        }
    },
    "expectations of each case, line by line": lambda _, passed: "\n".join(
        json.dumps({"id": CASES[n], "expectations": [{"status": word(was)}, {"status": "pass"}]})
        for n, was in enumerate(passed)
    ),
    "Cucumber": lambda _, passed: [
        {
            "id": "refunds",
            "name": "Refunds",
            "elements": [
                {
                    "id": f"refunds;{CASES[n]}",
                    "name": CASES[n],
                    "type": "scenario",
                    "steps": [
                        {"keyword": "When ", "name": "asked", "result": {"status": "passed", "duration": 3}},
                        {"keyword": "Then ", "name": "answered", "result": {"status": word(was, "passed", "failed")}},
                        {"keyword": "And ", "name": "thanked", "result": {"status": word(was, "passed", "skipped")}},
                    ],
                }
                for n, was in enumerate(passed)
            ],
        }
    ],
    "EvalPlus": lambda _, passed: {
        "eval": {
            f"HumanEval/{n}": [{"task_id": f"HumanEval/{n}", "base_status": "pass", "plus_status": word(was)}]
            for n, was in enumerate(passed)
        },
    },
    "Jest": lambda _, passed: {
        "numTotalTests": 10,
        "testResults": [
            {
                "name": "a.test.ts",
                "status": "failed",
                "assertionResults": [
                    {"fullName": CASES[n], "status": word(was, "passed", "failed"), "failureMessages": []}
                    for n, was in enumerate(passed)
                ],
            }
        ],
    },
    "Langfuse dataset run": lambda side, passed: {
        "data": [
            {"id": f"{side}-{n}", "datasetItemId": CASES[n], "scores": [{"name": "correct", "value": was}]}
            for n, was in enumerate(passed)
        ],
        "meta": {"page": 1},
    },
    "LiveCodeBench": each(lambda n, was: {"question_id": CASES[n], "graded_list": [bool(was)], "pass@1": float(was)}),
    "MLflow": lambda _, passed: {
        "columns": ["inputs", "outputs", "exact_match/v1/score", "latency"],
        "data": [[asked(n), "x", was, 0.2] for n, was in enumerate(passed)],
    },
    "OpenAI evals API": lambda side, passed: {
        "object": "list",
        "data": [
            {
                "id": f"{side}{n}",
                "status": word(was),
                "datasource_item_id": n,
                "datasource_item": {"question": asked(n)},
                "results": [{"name": "string check", "passed": bool(was), "score": float(was)}],
            }
            for n, was in enumerate(passed)
        ],
    },
    "pandas, by column": lambda _, passed: {
        "id": {str(n): case for n, case in enumerate(CASES)},
        "passed": {str(n): bool(was) for n, was in enumerate(passed)},
    },
    "Phoenix experiment": lambda side, passed: {
        "experiment_id": side,
        "runs": [
            {
                "id": f"{side}{n}",
                "dataset_example_id": CASES[n],
                "error": None,
                "evaluations": [{"name": "right", "label": word(was, "correct", "incorrect"), "score": float(was)}],
            }
            for n, was in enumerate(passed)
        ],
    },
    "pydantic-evals": lambda _, passed: {
        "name": "suite",
        "cases": [
            {
                "name": CASES[n],
                "inputs": asked(n),
                "scores": {},
                "assertions": {"Equals": {"name": "Equals", "value": bool(was), "reason": None}},
            }
            for n, was in enumerate(passed)
        ],
        "failures": [],
    },
    "pytest report": lambda _, passed: {
        "exitcode": 1,
        "summary": {"passed": 5},
        "tests": [
            {"nodeid": f"t.py::test[{n}]", "outcome": word(was, "passed", "failed"), "call": {"duration": 0.1}}
            for n, was in enumerate(passed)
        ],
    },
    "by part of the suite": lambda _, passed: {
        part: [{"id": CASES[n], "passed": bool(passed[n])} for n in numbers]
        for part, numbers in (("arithmetic", range(6)), ("geometry", range(6, 10)))
    },
    "spreadsheet, pass/fail": lambda _, passed: table(
        ["Test name", "Pass/Fail"], [(CASES[n], word(was, "Pass", "Fail")) for n, was in enumerate(passed)], "\t"
    ).encode("utf-16"),
    "spreadsheet, per cent": lambda _, passed: table(
        ["id", "score"], [(CASES[n], word(was, "100%", "0%")) for n, was in enumerate(passed)], ";"
    ),
    "Braintrust, as its API lists it": lambda side, passed: [
        {
            "id": f"{side}{n}",
            "input": asked(n),
            "metrics": {"start": 1.7e9 + n, "end": 1.7e9 + n + 1, "tokens": 20},
            "scores": {"Factuality": was},
        }
        for n, was in enumerate(passed)
    ],
    "HAL": lambda _, passed: {
        "config": {"agent_name": "x"},
        "results": {
            "accuracy": 0.8,
            "successful_tasks": [CASES[n] for n, was in enumerate(passed) if was],
            "failed_tasks": [CASES[n] for n, was in enumerate(passed) if not was],
        },
        "raw_eval_results": {CASES[n]: {"reward": float(was)} for n, was in enumerate(passed)},
    },
    "Inspect AI, first version": lambda _, passed: {
        "version": 1,
        "status": "success",
        "eval": {"task": "t", "model": "m"},
        "samples": [
            {"id": n, "epoch": 1, "input": asked(n), "score": {"value": word(was, "C", "I")}}
            for n, was in enumerate(passed)
        ],
    },
    "MLE-bench": lambda _, passed: {
        "total_medals": 5,
        "competition_reports": [
            {"competition_id": CASES[n], "score": 0.8, "any_medal": bool(was), "valid_submission": True}
            for n, was in enumerate(passed)
        ],
    },
    "OpenCompass": lambda _, passed: {
        "accuracy": 80.0,
        "details": {
            "type": "GEN",
            **{str(n): {"prompt": asked(n), "correct": bool(was)} for n, was in enumerate(passed)},
        },
    },
    "pytest report log": lambda _, passed: [
        {"pytest_version": "8.3.3", "$report_type": "SessionStart"},
        *(
            {"nodeid": CASES[n], "when": when, "outcome": word(was or when != "call", "passed", "failed")}
            for n, was in enumerate(passed)
            for when in ("setup", "call", "teardown")
        ),
        {"exitstatus": 1, "$report_type": "SessionFinish"},
    ],
    "SWE-bench without what is unresolved": lambda _, passed: {
        "completed_ids": list(CASES),
        "resolved_ids": [CASES[n] for n, was in enumerate(passed) if was],
    },
    "Weave": each(
        lambda n, was: {
            "inputs": {"example": {"id": CASES[n]}},
            "output": {"output": "x", "scores": {"match": {"correct": bool(was)}}},
        }
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_ten_cases_are_read_in_the_shape_of_each_tool(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten cases that are paired, 8 passes before and 5 after."""
    for side, passed in PASSED.items():
        content = SHAPES[name](side, passed)
        content = content if isinstance(content, str | bytes) else json.dumps(content)
        (tmp_path / side).write_bytes(content if isinstance(content, bytes) else content.encode())

    code = run_command(["report", str(tmp_path / "a"), str(tmp_path / "b"), "--output", "json"])

    captured = capsys.readouterr()
    assert 0 == code, captured.err
    aggregate = json.loads(captured.out)["aggregate"]
    assert (10, {"baseline": 8, "candidate": 5}) == (aggregate["cases"], aggregate["passed"])


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("✅ pass", "❌ fail"),
        ("✔️", "✖️"),
        ("Correct!", "Incorrect"),
        ("OK", "KO"),
        ("accepted", "wrong-answer"),
        ("resolved", "not resolved"),
        ("Solved.", "not_solved"),
    ],
)
@pytest.mark.parametrize("case", ["test_case_id", "sample_name", "scenario", "index"])
def test_outcomes_are_read_as_people_write_them(
    case: str, good: str, bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a row below them that sums up."""
    for side, passed in PASSED.items():
        rows = [(CASES[n], word(was, good, bad)) for n, was in enumerate(passed)]
        (tmp_path / f"{side}.csv").write_text(table([case, "result"], [*rows, ("Grand Total", sum(passed))]))

    code = run_command(["report", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--output", "json"])

    captured = capsys.readouterr()
    assert 0 == code, captured.err
    aggregate = json.loads(captured.out)["aggregate"]
    assert (10, {"baseline": 8, "candidate": 5}) == (aggregate["cases"], aggregate["passed"])


def test_a_grade_is_no_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """C+ is not Inspect's C for correct."""
    for side in "ab":
        (tmp_path / f"{side}.csv").write_text(table(["case", "result"], [("x", "C+"), ("y", "B-")]))

    code = run_command(["report", str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])

    assert 2 == code
    assert "no column says which case passed" in capsys.readouterr().err
