"""Logging: one event per line on standard error, as logfmt or JSON."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum

import structlog
from structlog.typing import EventDict, Processor

from monitor.config.settings import Settings

_FOLD_SECONDS = 60.0


class LogLevel(StrEnum):
    """Lowest level to log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """Format of a log line."""

    LOGFMT = "logfmt"
    JSON = "json"


class LogSettings(Settings):
    """What to log, and in which format."""

    level: LogLevel = LogLevel.INFO
    """Lowest level to log."""

    format: LogFormat = LogFormat.LOGFMT
    """Format of the lines on standard error."""


def configure(settings: LogSettings) -> None:
    """
    Send structlog's events, and the warnings of libraries that use stdlib logging, to standard error.

    Libraries (kafka-python, uvicorn) are logged from `warning` up, whatever the level in *settings*, since their info
    messages would drown our own events.
    """
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    written: list[Processor] = [structlog.processors.format_exc_info, _without_controls, _renderer(settings.format)]
    structlog.configure(
        processors=[*shared, *written],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,  # loggers that modules created before this call must use it too
    )
    _route_stdlib(shared, written)


def _route_stdlib(shared: list[Processor], written: list[Processor]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Fold())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *written],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


class _Fold(logging.Filter):
    """Logs the same warning of a library at most once a minute, with the number of those left out."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.lineno, record.levelname)
        logged_at, folded = self._last.get(key, (-_FOLD_SECONDS, 0))
        if record.created - logged_at < _FOLD_SECONDS:
            self._last[key] = (logged_at, folded + 1)
            return False
        if folded:
            record.msg, record.args = f"{record.getMessage()} (and {folded} more like it)", None
        self._last[key] = (record.created, 0)
        return True


def printable(text: str) -> str:
    r"""
    Escape characters of *text* that would colour a terminal, move its cursor or change the direction of text.

    >>> printable("a\x1b[31m\u202eb")
    'a\\x1b[31m\\u202eb'
    """
    if text.isprintable():
        return text
    escaped = {char: char.encode("unicode_escape").decode() for char in {*text} - {*"\n\t"} if not char.isprintable()}
    return text.translate(str.maketrans(escaped))


def _without_controls(_: object, __: str, event: EventDict) -> EventDict:
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}


def _renderer(form: LogFormat) -> Processor:
    if form is LogFormat.JSON:
        return structlog.processors.JSONRenderer()
    return structlog.processors.LogfmtRenderer(
        key_order=["timestamp", "level", "event"], drop_missing=True, bool_as_flag=False
    )
