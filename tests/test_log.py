from __future__ import annotations

import json
import logging

import pytest
import structlog

from monitor.log import LogFormat, LogLevel, LogSettings, configure


def test_an_event_is_one_line_of_logfmt_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level and event come first, then the keys; standard output stays free for results."""
    configure(LogSettings())

    structlog.get_logger().info("batch.committed", records=12, topic="agent traces", is_empty=False)

    out, err = capsys.readouterr()
    stamp, _, rest = err.partition(" ")
    assert stamp.startswith("timestamp=20")
    assert stamp.endswith("Z")
    assert rest == 'level=info event=batch.committed records=12 topic="agent traces" is_empty=false\n'
    assert out == ""


def test_an_event_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same keys, for a log pipeline."""
    configure(LogSettings(format=LogFormat.JSON))

    structlog.get_logger().warning("record.dead_lettered", reason="not_json")

    line = json.loads(capsys.readouterr().err)
    assert {"level": "warning", "event": "record.dead_lettered", "reason": "not_json"} == {
        key: value for key, value in line.items() if key != "timestamp"
    }


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (LogLevel.DEBUG, ["debug", "info", "warning", "error"]),
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.WARNING, ["warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_what_is_below_the_level_is_not_written(
    capsys: pytest.CaptureFixture[str], level: LogLevel, expected: list[str]
) -> None:
    """The level is the lowest that is written."""
    configure(LogSettings(level=level))
    log = structlog.get_logger()

    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)

    lines = capsys.readouterr().err.splitlines()
    assert expected == [line.rpartition("event=")[2] for line in lines]


def test_a_logger_made_before_follows_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Modules make their loggers when they are imported, long before the config is read."""
    early = structlog.get_logger()
    configure(LogSettings(level=LogLevel.ERROR))

    early.info("too.quiet")

    assert capsys.readouterr().err == ""


def test_warnings_of_libraries_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """kafka-python and uvicorn log through the standard library; their line says who speaks."""
    configure(LogSettings())

    logging.getLogger("kafka.coordinator").warning("Heartbeat failed: %s", "no coordinator")

    assert capsys.readouterr().err.endswith(
        'level=warning event="Heartbeat failed: no coordinator" logger=kafka.coordinator\n'
    )


def test_a_warning_that_a_library_repeats_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    """A client whose broker is away says so many times a second; once a minute is enough, with how often it came."""
    configure(LogSettings())
    client = logging.getLogger("kafka.client")

    def warn(seconds: float) -> None:
        record = client.makeRecord(client.name, logging.WARNING, "net.py", 7, "node %d is away", (1,), None)
        record.created = 1_000.0 + seconds
        client.handle(record)

    for seconds in (0, 1, 2, 59, 61, 62, 200):
        warn(seconds)
    client.error("something else")

    told = [line.partition("event=")[2] for line in capsys.readouterr().err.splitlines()]
    assert ["node 1 is away", "node 1 is away (and 3 more like it)", "node 1 is away (and 1 more like it)"] == [
        each.partition(" logger=")[0].strip('"') for each in told[:3]
    ]
    assert "something else" in told[3]


def test_chatter_of_libraries_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """What a library calls info is noise beside our events, also at level debug."""
    configure(LogSettings(level=LogLevel.DEBUG))

    logging.getLogger("kafka.conn").info("connecting")

    assert capsys.readouterr().err == ""


def test_configuring_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A reload replaces the handlers instead of adding to them."""
    configure(LogSettings())
    configure(LogSettings())

    logging.getLogger("kafka").error("gone")
    structlog.get_logger().error("gone.too")

    assert len(capsys.readouterr().err.splitlines()) == 2


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback is a key like others, so that a line stays an event."""
    configure(LogSettings())

    try:
        _break()
    except RuntimeError:
        structlog.get_logger().exception("service.failed")
        logging.getLogger("kafka").exception("library failed")

    ours, theirs = capsys.readouterr().err.splitlines()
    assert "RuntimeError: broken" in ours
    assert "RuntimeError: broken" in theirs


def _break() -> None:
    raise RuntimeError("broken")
