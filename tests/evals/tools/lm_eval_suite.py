"""Runs the invented suite in lm-evaluation-harness on a model made up here: lm_eval_suite.py FOLDER VERSION."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

SUITE = json.loads(Path(__file__).with_name("suite.json").read_text(encoding="utf-8"))

TASK = """
task: arithmetic
dataset_path: json
dataset_kwargs: {data_files: {test: questions.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
filter_list:
  - {name: strict, filter: [{function: take_first}]}
  - {name: number, filter: [{function: regex, regex_pattern: "(-?[0-9]+)"}, {function: take_first}]}
"""

CHOICES = """
task: arithmetic_choices
dataset_path: json
dataset_kwargs: {data_files: {test: questions.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["{{answer}}", "a lot"]
doc_to_target: 0
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""


@register_model("invented")
class Invented(LM):
    """Knows the suite by heart, but for what its version gets wrong."""

    def __init__(self, pretrained: str = "", **_: Any) -> None:
        super().__init__()
        told = SUITE["versions"][pretrained]
        self._missed = {
            each["question"]: each["id"] in told["wrong"] + told["unanswered"] for each in SUITE["questions"]
        }
        self._answers = {each["question"]: each["answer"] for each in SUITE["questions"]}

    def generate_until(self, requests: Any) -> list[str]:
        return [self._answer(request.args[0], otherwise="I do not know") for request in requests]

    def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
        likely = [request.args[1].strip() == self._answer(request.args[0], otherwise="a lot") for request in requests]
        return [(-1.0 if each else -2.0, each) for each in likely]

    def _answer(self, question: str, *, otherwise: str) -> str:
        return otherwise if self._missed[question] else self._answers[question]

    def loglikelihood_rolling(self, requests: Any) -> list[float]:
        raise NotImplementedError


def main(folder: str, version: str) -> None:
    Path("questions.jsonl").write_text(
        "".join(f"{json.dumps(each)}\n" for each in SUITE["questions"]), encoding="utf-8"
    )
    Path("tasks").mkdir(exist_ok=True)
    Path("tasks/arithmetic.yaml").write_text(TASK, encoding="utf-8")
    Path("tasks/arithmetic_choices.yaml").write_text(CHOICES, encoding="utf-8")
    sys.argv = ["lm_eval", "--model", "invented", "--model_args", f"pretrained={version}"]
    sys.argv += ["--tasks", "arithmetic,arithmetic_choices", "--include_path", "tasks"]
    sys.argv += ["--output_path", folder, "--log_samples"]
    cli_evaluate()


if __name__ == "__main__":
    main(*sys.argv[1:])
