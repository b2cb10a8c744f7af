"""Runs the invented suite in Inspect AI on its mock model: inspect_suite.py FOLDER VERSION FORMAT EPOCHS."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai import eval as run_eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import exact, includes
from inspect_ai.solver import generate

SUITE = json.loads(Path(__file__).with_name("suite.json").read_text(encoding="utf-8"))


def answers(version: str) -> Any:
    asked = {each["question"]: each for each in SUITE["questions"]}
    told = SUITE["versions"][version]

    def answer(messages: Any, *_: Any) -> ModelOutput:
        question = asked[messages[-1].text]
        if question["id"] in told["unanswered"]:
            raise RuntimeError("the provider is away")
        output = ModelOutput.from_content(
            version, "I do not know" if question["id"] in told["wrong"] else question["answer"]
        )
        output.usage = ModelUsage(input_tokens=10, output_tokens=1, total_tokens=11)  # else it asks the network
        return output

    return answer


def main(folder: str, version: str, log_format: str, epochs: str) -> None:
    samples = [
        Sample(
            id=each["id"],
            input=each["question"],
            target=each["answer"],
            metadata={"difficulty": each["difficulty"], "capability": each["capability"]},
        )
        for each in SUITE["questions"]
    ]
    run_eval(
        Task(name="arithmetic", dataset=samples, solver=generate(), scorer=[exact(), includes()], epochs=int(epochs)),
        model=get_model(f"mockllm/{version}", custom_outputs=answers(version), memoize=False),
        log_dir=folder,
        log_format=log_format,
        display="none",
        fail_on_error=False,
        log_realtime=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
