from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from monitor.ledger.ledger import CounterKey, CounterName
from monitor.metrics.snapshot import LoopStatus, Snapshot, SnapshotHolder
from monitor.rollout.policy import Policy
from monitor.web.bodies import BodyResponse, SnapshotBodies
from monitor.web.server import MetricsServer
from monitor.web.settings import WebSettings

SLOW_READERS = 50
SERIES = 20_000
DEADLINE_SECONDS = 60.0


def large_snapshot(turn: int) -> Snapshot:
    """Megabytes to send: far more than sockets hold for a reader that does not read."""
    counters = {
        CounterKey(CounterName.REQUESTS, "shop", "production", f"model-{number % 50}", "hard", f"class-{number}"): turn
        for number in range(SERIES)
    }
    return Snapshot(now=float(turn), policy=Policy(), counters=counters, loop=LoopStatus(last_commit_at=float(turn)))


Serve = Callable[..., tuple[MetricsServer, SnapshotHolder]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A started server of a large snapshot with the given settings."""
    with ExitStack() as running:

        def start(**settings: float) -> tuple[MetricsServer, SnapshotHolder]:
            snapshots = SnapshotHolder(large_snapshot(1))
            web = WebSettings(listen_address="127.0.0.1:0", **settings)  # type: ignore[arg-type]
            server = MetricsServer(web, snapshots, lambda: None)
            server.start()
            running.callback(server.stop)
            return server, snapshots

        yield start


def connect(server: MetricsServer) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # or the kernel would read for it
    reader.settimeout(DEADLINE_SECONDS)
    reader.connect(("127.0.0.1", server.port))
    return reader


def ask(reader: socket.socket, path: str = "/metrics") -> None:
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


def is_ended(reader: socket.socket) -> bool:
    """Whether the server ended the connection, once everything that is left has been read."""
    try:
        while reader.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def last_commit(text: str) -> float:
    (line,) = [each for each in text.splitlines() if each.startswith("cliffwatch_last_commit_timestamp_seconds ")]
    return float(line.rpartition(" ")[2])


@pytest.mark.slow
def test_fifty_slow_scrapers_delay_nobody(serve: Serve) -> None:
    """While they read a byte a second or nothing, snapshots are published and other scrapes get each of them whole."""
    server, snapshots = serve()
    slow = [connect(server) for _ in range(SLOW_READERS)]
    for reader in slow:
        ask(reader)
    is_over = threading.Event()
    drip = threading.Thread(target=_read_byte_by_byte, args=(slow[::2], is_over))
    drip.start()

    seen = []
    with httpx.Client(base_url=server.url, trust_env=False, timeout=DEADLINE_SECONDS) as client:
        for turn in range(2, 7):
            snapshots.current = large_snapshot(turn)
            answer = client.get("/metrics")
            seen.append((answer.status_code, last_commit(answer.text)))
            assert "healthy\n" == client.get("/-/healthy").text
    is_over.set()
    drip.join()
    for reader in slow:
        reader.close()

    assert [(200, float(turn)) for turn in range(2, 7)] == seen


def _read_byte_by_byte(readers: list[socket.socket], is_over: threading.Event) -> None:
    while not is_over.wait(1.0):
        for reader in readers:
            reader.recv(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="one that says nothing"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: 127", id="one that never ends its head"),
        pytest.param(
            b"POST /api/v1/rollouts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{", id="or its body"
        ),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", id="one that does not read"),
    ],
)
def test_a_client_that_takes_too_long_is_cut_off(serve: Serve, head: bytes) -> None:
    """Nobody holds a connection, and what it would read, for ever."""
    server, _ = serve(timeout_seconds=1.0)
    reader = connect(server)
    reader.sendall(head)

    _wait_for(lambda: not server._server.server_state.connections)

    assert is_ended(reader)
    reader.close()


def test_of_too_many_connections_the_longest_waiting_gives_way(serve: Serve) -> None:
    """A crowd that asks for nothing keeps no scraper out."""
    server, _ = serve(max_connections=10)
    crowd = [connect(server) for _ in range(40)]

    answer = httpx.get(f"{server.url}/-/healthy", trust_env=False)

    assert "healthy\n" == answer.text
    for reader in crowd[:29]:
        assert is_ended(reader)
    assert len(server._server.server_state.connections) <= 10
    for reader in crowd:
        reader.close()


def test_a_head_that_is_too_long_is_refused(serve: Serve) -> None:
    """It is not collected in memory to see how long it gets."""
    server, _ = serve()
    reader = connect(server)
    with suppress(ConnectionResetError, BrokenPipeError):
        reader.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000)

    assert is_ended(reader)
    reader.close()


def test_a_scraper_that_takes_gzip_gets_gzip(serve: Serve) -> None:
    """Text packs to a tenth, and is the same text."""
    server, _ = serve()
    plain = httpx.get(f"{server.url}/metrics", headers={"Accept-Encoding": "identity"}, trust_env=False)
    with httpx.stream("GET", f"{server.url}/metrics", headers={"Accept-Encoding": "gzip"}, trust_env=False) as packed:
        content = b"".join(packed.iter_raw())

    assert "gzip" == packed.headers["content-encoding"]
    assert "content-encoding" not in plain.headers
    assert plain.content == gzip.decompress(content)
    assert len(content) < len(plain.content) / 5


@pytest.mark.slow
@pytest.mark.parametrize("refusal", ["", "gzip;q=0", "deflate, br", "gzip; q=0.0"])
def test_a_scraper_that_takes_no_gzip_gets_text(serve: Serve, refusal: str) -> None:
    """Only who asks for it is packed for."""
    server, _ = serve()

    answer = httpx.get(f"{server.url}/metrics", headers={"Accept-Encoding": refusal}, trust_env=False)

    assert "content-encoding" not in answer.headers
    assert answer.text.startswith("# HELP")


def test_a_body_is_made_once_however_many_ask() -> None:
    """A hundred scrapes of one snapshot cost one encoding, and one packing."""
    made = []

    def make(snapshot: Snapshot) -> bytes:
        made.append(snapshot.now)
        return b"body"

    async def ask_often() -> set[int]:
        bodies = SnapshotBodies(SnapshotHolder(Snapshot(now=1.0, policy=Policy())))
        plain = await asyncio.gather(*[bodies.get("text", make) for _ in range(100)])
        packed = await asyncio.gather(*[bodies.get("text", make, is_gzipped=True) for _ in range(100)])
        return {id(body) for body in plain} | {id(body) for body in packed}

    assert 2 == len(asyncio.run(ask_often()))
    assert [1.0] == made


def test_readers_of_old_bodies_are_cut_off_where_they_hold_too_much() -> None:
    """However large a scrape is, what slow readers keep in memory stays below the limit, the oldest goes first."""
    closed: list[int] = []

    async def read_slowly(snapshots: SnapshotHolder) -> list[int]:
        bodies = SnapshotBodies(snapshots, most_old_bytes=250)
        readers = []
        for turn in range(6):
            snapshots.current = Snapshot(now=float(turn), policy=Policy())
            body = await bodies.get("text", lambda _: b"x" * 100)
            readers.append(asyncio.create_task(_stuck(BodyResponse(body, {}), turn, closed)))
            await asyncio.sleep(0)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        return [len(body.readers) for body in bodies._handed_out]

    left = asyncio.run(read_slowly(SnapshotHolder(Snapshot(now=-1.0, policy=Policy()))))

    assert {0, 1} == set(closed)
    assert {0} == set(left)


async def _stuck(response: BodyResponse, number: int, closed: list[int]) -> None:
    async def send(_: object) -> None:
        await asyncio.sleep(DEADLINE_SECONDS)

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    def close_now() -> None:
        closed.append(number)

    await response({"type": "http", "extensions": {"cliffwatch.close_now": close_now}}, receive, send)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
