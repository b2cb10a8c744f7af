"""Runs the invented suite in DeepEval: `deepeval_suite.py FOLDER VERSION` writes one results file, offline."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER, VERSION = sys.argv[1:]
os.environ |= {
    "DEEPEVAL_RESULTS_FOLDER": FOLDER,
    "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
    "DEEPEVAL_UPDATE_WARNING_OPT_OUT": "YES",
}

from deepeval import evaluate  # noqa: E402  (it reads the environment)
from deepeval.evaluate import AsyncConfig, CacheConfig, DisplayConfig, ErrorConfig  # noqa: E402
from deepeval.metrics import BaseMetric  # noqa: E402
from deepeval.test_case import LLMTestCase  # noqa: E402

SUITE = json.loads(Path(__file__).with_name("suite.json").read_text(encoding="utf-8"))
TOLD = SUITE["versions"][VERSION]


class Exact(BaseMetric):
    """The expected answer and nothing else; without an answer there is nothing to judge."""

    threshold = 1.0
    async_mode = False
    error = None

    def measure(self, test_case: LLMTestCase, *_: Any, **__: Any) -> float:
        if not test_case.actual_output:
            raise RuntimeError("no answer")
        self.score = float(test_case.actual_output == test_case.expected_output)
        self.success = self.score >= self.threshold
        self.reason = f"answered {test_case.actual_output}"
        return self.score

    async def a_measure(self, test_case: LLMTestCase, *_: Any, **__: Any) -> float:
        return self.measure(test_case)

    def is_successful(self) -> bool:
        return bool(self.success)

    @property
    def __name__(self) -> str:
        return "Exact"


def answered(question: dict[str, str]) -> str:
    if question["id"] in TOLD["unanswered"]:
        return ""
    return "I do not know" if question["id"] in TOLD["wrong"] else question["answer"]


evaluate(
    [
        LLMTestCase(
            name=each["id"],
            input=each["question"],
            expected_output=each["answer"],
            actual_output=answered(each),
            additional_metadata={"difficulty": each["difficulty"], "capability": each["capability"]},
        )
        for each in SUITE["questions"]
    ],
    [Exact()],
    async_config=AsyncConfig(run_async=False),
    display_config=DisplayConfig(print_results=False, show_indicator=False),
    error_config=ErrorConfig(ignore_errors=True),
    cache_config=CacheConfig(write_cache=False, use_cache=False),
)
