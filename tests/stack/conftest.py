from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest

from tests.stack.servers import (
    AlertmanagerServer,
    KafkaServer,
    PostgresServer,
    PrometheusServer,
    Server,
    ServerMissing,
    WebhookReceiver,
)

_S = TypeVar("_S", bound=Server)


@pytest.fixture(scope="session")
def _kafka() -> Iterator[KafkaServer]:
    with _installed(KafkaServer) as server:
        yield server


@pytest.fixture
def kafka(_kafka: KafkaServer) -> Iterator[KafkaServer]:
    """One broker for all tests; each takes fresh topics, and finds it running."""
    told = len(_kafka.log())
    yield _kafka
    print(_kafka.log()[told:][-5_000:])  # noqa: T201 - pytest shows it where the test failed
    _kafka.ensure_running()


@pytest.fixture(scope="session")
def _postgres() -> Iterator[PostgresServer]:
    with _installed(PostgresServer) as server:
        yield server


@pytest.fixture
def postgres(_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests; each takes a fresh database, and finds it running."""
    yield _postgres
    _postgres.ensure_running()


@pytest.fixture
def prometheus() -> Iterator[Callable[..., PrometheusServer]]:
    """Starts a Prometheus with the given arguments."""
    with ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(_installed(lambda: PrometheusServer(**arguments)))


@pytest.fixture
def alertmanager() -> Iterator[Callable[[str], AlertmanagerServer]]:
    """Starts an Alertmanager with the given config."""
    with ExitStack() as stack:
        yield lambda config_text: stack.enter_context(_installed(lambda: AlertmanagerServer(config_text)))


@pytest.fixture
def webhook() -> Iterator[WebhookReceiver]:
    """Collects what Alertmanager sends."""
    with WebhookReceiver() as receiver:
        yield receiver


def _installed(server: Callable[[], _S]) -> _S:
    """The server; a failed test in CI and a skipped one elsewhere where it is not installed."""
    try:
        return server()
    except ServerMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
