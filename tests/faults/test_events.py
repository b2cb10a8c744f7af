from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.cli.wiring import file_replay
from monitor.config.model import Config
from monitor.metrics.collect import families_of
from monitor.metrics.exposition import encode_text
from monitor.trace.settings import AssemblySettings, TraceSettings
from tests.faults.counted import counted
from tests.faults.events import Stream


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_model_of_truth_agrees_with_an_undisturbed_replay(tmp_path: Path, seed: int) -> None:
    """Where nothing goes wrong, what is counted is what the model says, family by family."""
    stream = Stream(4_000, seed)
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(line.value + b"\n" for line in stream))

    patient = AssemblySettings(quiet_seconds=1e6, idle_seconds=1e6, max_age_seconds=1e7)  # so that no span is late
    config = Config().model_copy(update={"traces": TraceSettings(assembly=patient)})
    with file_replay(config, [str(file)], ledger_url="sqlite://") as replayed:
        replayed.read(progress=lambda _: None)
        replayed.finish(seconds=1)
        text = encode_text(families_of(replayed.stages.snapshots.current)).decode()
    samples = {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    found, truth = counted(samples), stream.truth.copy()
    for counts in (found, truth):  # a file is one topic
        for key in [key for key in counts if key[0] == "records"]:
            counts["records",] += counts.pop(key)

    assert truth == found


def test_the_same_seed_gives_the_same_stream() -> None:
    """A failure can be looked at again."""
    assert list(Stream(500, 7)) == list(Stream(500, 7))
