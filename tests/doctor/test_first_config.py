from __future__ import annotations

from pathlib import Path

from monitor.config.model import Config, load_config
from monitor.doctor.first_config import first_config, services_words, warnings
from monitor.doctor.topic_sample import Sample

SPANS = Sample(
    "traces",
    records=10,
    formats=["OTLP protobuf"],
    conventions=["OpenTelemetry GenAI"],
    traces=40,
    versions={"shop": ["m-1", "m-2", "m-3", "m-4", "m-5"]},
)
VERDICTS = Sample("verdicts", records=10, formats=["OTLP protobuf"], outcomes=10)


def written(tmp_path: Path, *samples: Sample, **kafka: str) -> Config:
    """The config that comes of *samples*, read back."""
    path = tmp_path / "first.yaml"
    path.write_text(first_config("k:9092", samples, "sqlite:///mine.db", kafka))
    return load_config(path)


def test_a_first_config_says_what_was_found_and_nothing_else(tmp_path: Path) -> None:
    """Every other key keeps its default, and each line that is there is explained."""
    config = written(tmp_path, SPANS)
    lines = (tmp_path / "first.yaml").read_text().splitlines()

    assert ("k:9092", ("traces",), "sqlite:///mine.db") == (
        config.kafka.bootstrap_servers,
        config.kafka.topics,
        config.ledger.url,
    )
    assert Config().traces == config.traces
    assert "traces: OTLP protobuf (OpenTelemetry GenAI)" in " ".join(line.strip(" #") for line in lines)
    keys = [number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    assert {"#"} == {lines[number - 1].lstrip()[0] for number in keys}


def test_where_spans_are_judged_their_status_is_silent(tmp_path: Path) -> None:
    """Or else a run that nobody judged would count as a success."""
    assert "ignored" == written(tmp_path, SPANS, VERDICTS).traces.outcomes.status
    assert "error_or_success" == written(tmp_path, VERDICTS).traces.outcomes.status


def test_security_is_taken_over_and_a_password_has_no_place(tmp_path: Path) -> None:
    """The file names the file of the password."""
    config = written(tmp_path, SPANS, sasl_mechanism="PLAIN", sasl_username="u", sasl_password_file="/run/p")

    assert ("PLAIN", "u", "/run/p", "") == (
        config.kafka.sasl_mechanism,
        config.kafka.sasl_username,
        config.kafka.sasl_password_file,
        config.kafka.sasl_password,
    )


def test_what_will_be_missing_is_said() -> None:
    """An empty topic, evaluations that nobody understands, and no labels at all; nothing where all is well."""
    unmapped = Sample("verdicts", records=3, formats=["OTLP JSON"], unmapped=3)

    assert ["empty is empty: send something"] == [w.partition(",")[0] for w in warnings([Sample("empty")])]
    assert [True] == ["give traces.outcomes.evaluations a rule" in w for w in warnings([SPANS, unmapped])]
    assert [True] == ["No labels were seen" in w for w in warnings([SPANS])]
    assert [] == list(warnings([SPANS, VERDICTS]))


def test_many_versions_are_not_all_named() -> None:
    """A line stays a line."""
    assert ["shop with m-1, m-2, m-3, m-4 and 1 more"] == services_words([SPANS, VERDICTS])
