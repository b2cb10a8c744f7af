"""Real servers as processes on free loopback ports: started, waited for, killed and restarted by their process id."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import httpx
import psycopg
import yaml
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError

_T = TypeVar("_T")
_REPOSITORY = Path(__file__).resolve().parents[2]
_KAFKA_JARS = _REPOSITORY / ".servers" / "kafka"
_START_SECONDS = 180.0
_STOP_SECONDS = 30.0
_DICE = random.SystemRandom()


class ServerMissing(Exception):
    """The server's program is not installed here."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed; run `make servers`.")


def wait_until(
    predicate: Callable[[], _T], timeout_seconds: float = 120.0, what: str = "", interval_seconds: float = 0.05
) -> _T:
    """The first true value that *predicate* returns; AssertionError that names *what* when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_seconds:g} s: {what or predicate}; last answer {found!r}")
        time.sleep(interval_seconds)
    return found


def ask(url: str, **parameters: str) -> httpx.Response:
    """
    Answer of a loopback server to a GET.

    Without the certificates that httpx loads for each call otherwise: 47 ms of CPU, where the rest takes 3, and most
    callers ask every 50 ms.
    """
    return httpx.get(url, params=parameters or None, trust_env=False, verify=False)


def free_port() -> int:
    """
    A loopback port that nothing listens on, below the range from which outgoing connections take theirs.

    Test processes that run side by side never draw the same one, though it may take a while until a server listens on
    it; and the dice are none that are put back before each test.
    """
    worker, workers = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    for _ in range(1_000):
        port = _DICE.randrange(15_000 + worker, 32_000, int(workers or 1))
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def find_program(*names: str) -> str:
    """Path of the first of *names* that is installed (PostgreSQL hides its own from PATH on Debian)."""
    hidden = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    search_path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, hidden)])
    for name in names:
        if found := shutil.which(name, path=search_path):
            return found
    raise ServerMissing(names[0])


class Server:
    """
    One process with its port, data directory and log; a context manager that leaves nothing behind.

    Subclasses say how it is started (`command`) and when it is ready (`is_ready`).
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    user: str | None = None
    start_seconds: ClassVar[float] = _START_SECONDS

    def __init__(self, directory: Path | None = None) -> None:
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log_path = self.directory / "server.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """Program and arguments."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Environment variables of the process."""
        return os.environ

    def prepare(self) -> None:
        """Write config and data before the first start."""

    def is_ready(self) -> bool:
        """Whether it answers."""
        return is_listening(self.port)

    def log(self) -> str:
        """What it has printed so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, *, wait: bool = True) -> None:
        """Start it, on the same port and data as before, and wait until it is ready."""
        assert self.process is None, "already started"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=dict(self.environment()),
                user=self.user,
                start_new_session=True,  # so that its children die with it
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until it answers; AssertionError with the end of its log when it does not."""
        try:
            wait_until(
                lambda: self._has_ended() or self.is_ready(), self.start_seconds, f"{type(self).__name__} is ready"
            )
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.log()[-3_000:]}") from late
        if self._has_ended():
            raise AssertionError(f"{type(self).__name__} ended while starting:\n{self.log()[-3_000:]}")

    def stop(self) -> None:
        """Ask it to end and wait; kill it when it does not."""
        if self.process is None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """End it and its children at once (SIGKILL), as a power cut would."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def restart(self) -> None:
        """Stop it in good order and start it again."""
        self.stop()
        self.start()

    def ensure_running(self) -> None:
        """Start it again where a test left it stopped."""
        if self._has_ended():
            self.process = None
            self.start()

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


def is_listening(port: int) -> bool:
    """Whether something accepts connections on the loopback *port*."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class KafkaServer(Server):
    """One Apache Kafka 4 broker that is its own controller (KRaft)."""

    def __init__(self, directory: Path | None = None, **settings: str) -> None:
        if not _KAFKA_JARS.is_dir():
            raise ServerMissing("Apache Kafka")
        self._java = find_program("java")
        super().__init__(directory)
        self._settings = {name.replace("_", "."): value for name, value in settings.items()}
        self._controller_port = free_port()
        self._names = count()

    def __exit__(self, *problem: object) -> None:
        self.kill()  # in good order it takes up to 20 s, for what is thrown away
        super().__exit__(*problem)

    @property
    def bootstrap_servers(self) -> str:
        """Host and port, as clients want it."""
        return self.address

    def prepare(self) -> None:
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # Tests tell stories of last month, which the broker would take away whenever it next looks.
            "log.retention.ms": "-1",
            # A killed broker may come back only when its session with the controller is over (9 s otherwise).
            "broker.session.timeout.ms": "1000",
            "broker.heartbeat.interval.ms": "100",
            "log.cleaner.dedupe.buffer.size": "8388608",
        } | self._settings
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        (self.directory / "log4j2.properties").write_text(
            "rootLogger.level=warn\nrootLogger.appenderRef.out.ref=out\n"
            "appender.out.type=Console\nappender.out.name=out\nappender.out.layout.type=PatternLayout\n"
            "appender.out.layout.pattern=%d %p %c{1} %m%n\n"
        )
        cluster_id = "cliffwatch-stack-test0"
        self._run_java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties))

    def command(self) -> Sequence[str]:
        return [*self._java_command(), "kafka.Kafka", str(self._properties)]

    def new_topic(self, *, partitions: int = 1, config: Mapping[str, str] | None = None, prefix: str = "topic") -> str:
        """Name of a fresh, empty topic."""
        topic = f"{prefix}-{next(self._names)}"
        self.create_topic(topic, partitions=partitions, config=config)
        return topic

    def create_topic(self, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create the topic *name* and wait until it can be written to."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        try:
            new = NewTopic(name=name, num_partitions=partitions, replication_factor=1, topic_configs=dict(config or {}))
            admin.create_topics([new])
            wait_until(lambda: _has_leaders(admin, name, partitions), what=f"topic {name} has leaders")
        finally:
            admin.close()

    def delete_topics(self, *names: str) -> None:
        """Delete topics with all that they hold."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        try:
            admin.delete_topics(list(names))
        finally:
            admin.close()

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def _java_command(self) -> list[str]:
        # Started often and for seconds only: the quick compiler and the small collector get it up twice as fast.
        # Room for the bombs of the hostile tests.
        options = ["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        log_config = f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}"
        return [self._java, *options, log_config, "-cp", f"{_KAFKA_JARS}/*"]

    def _run_java(self, *arguments: str) -> None:
        done = subprocess.run([*self._java_command(), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _has_leaders(admin: KafkaAdminClient, topic: str, partitions: int) -> bool:
    try:
        (found,) = admin.describe_topics([topic])
    except KafkaError:
        return False
    leaders = [partition["leader_id"] for partition in found["partitions"]]
    return len(leaders) == partitions and min(leaders) >= 0


class _HttpServer(Server):
    """A server that tells over HTTP when it is ready."""

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://{self.address}"

    def get(self, path: str, **parameters: str) -> Any:
        """JSON answer to a GET of *path*."""
        return ask(f"{self.url}{path}", **parameters).raise_for_status().json()

    def post(self, path: str) -> None:
        """POST nothing to *path*."""
        httpx.post(f"{self.url}{path}", trust_env=False).raise_for_status()

    def is_ready(self) -> bool:
        try:
            return ask(f"{self.url}/-/ready").is_success
        except httpx.TransportError:
            return False


class PrometheusServer(_HttpServer):
    """
    Prometheus with a config of its own text, or one made of scrape targets, rule files and Alertmanagers.

    Args:
        targets: host:port of each process to scrape at /metrics; ignored where *config_text* is given.
        rule_files: Rule files to load.
        alertmanagers: host:port of each Alertmanager.
        interval: Time between scrapes and between evaluations, in Prometheus's words.
        config_text: The whole config instead.
        directory: Where config and data are kept; a temporary one where None.
    """

    def __init__(
        self,
        *,
        targets: Sequence[str] = (),
        rule_files: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
        interval: str = "1s",
        config_text: str | None = None,
        directory: Path | None = None,
    ) -> None:
        self._program = find_program("prometheus")
        super().__init__(directory)
        self._config_text = config_text or yaml.safe_dump(
            {
                "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
                "rule_files": [str(path.resolve()) for path in rule_files],
                "scrape_configs": [{"job_name": "cliffwatch", "static_configs": [{"targets": list(targets)}]}],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
            }
        )

    def prepare(self) -> None:
        (self.directory / "prometheus.yml").write_text(self._config_text)

    def command(self) -> Sequence[str]:
        return [
            self._program,
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={self.address}",
            "--web.enable-lifecycle",
            "--enable-feature=exemplar-storage",
            # Alerts that fire before the Alertmanager is discovered (5 s) are dropped, and sent again after this only.
            "--rules.alert.resend-delay=1s",
            "--log.level=warn",
        ]

    def reload(self, config_text: str) -> None:
        """Use another config from now on."""
        self._config_text = config_text
        self.prepare()
        self.post("/-/reload")

    def query(self, promql: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an instant query; *at* in Unix seconds, now where None."""
        parameters = {"query": promql} | ({} if at is None else {"time": str(at)})
        result = self.get("/api/v1/query", **parameters)["data"]["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def exemplars(self, promql: str, since: float) -> list[tuple[dict[str, str], list[dict[str, str]]]]:
        """Labels of each series of *promql*, and those of its exemplars since *since* (Unix seconds)."""
        found = self.get("/api/v1/query_exemplars", query=promql, start=str(since), end=str(time.time()))["data"]
        return [(series["seriesLabels"], [each["labels"] for each in series["exemplars"]]) for series in found]

    def alerts(self, state: str = "firing") -> list[dict[str, Any]]:
        """Alerts in *state* (pending or firing), as the API gives them."""
        return [alert for alert in self.get("/api/v1/alerts")["data"]["alerts"] if alert["state"] == state]

    def healthy_targets(self) -> list[str]:
        """Scrape addresses that answered last time."""
        targets = self.get("/api/v1/targets")["data"]["activeTargets"]
        return [target["scrapeUrl"] for target in targets if target["health"] == "up"]


class AlertmanagerServer(_HttpServer):
    """One Alertmanager with the given config, without its gossip."""

    def __init__(self, config_text: str, directory: Path | None = None) -> None:
        self._program = find_program("alertmanager", "prometheus-alertmanager")
        super().__init__(directory)
        self._config_text = config_text

    def prepare(self) -> None:
        (self.directory / "alertmanager.yml").write_text(self._config_text)

    def command(self) -> Sequence[str]:
        return [
            self._program,
            f"--config.file={self.directory / 'alertmanager.yml'}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def alerts(self) -> list[dict[str, Any]]:
        """Alerts it holds, as the API gives them."""
        alerts: list[dict[str, Any]] = self.get("/api/v2/alerts")
        return alerts


class PostgresServer(Server):
    """One PostgreSQL cluster, run by an ordinary user because it refuses root."""

    stop_signal = signal.SIGINT  # "fast": ends sessions instead of waiting for them

    def __init__(self, directory: Path | None = None) -> None:
        self._initdb, self._postgres = find_program("initdb"), find_program("postgres")
        super().__init__(directory)
        self._names = count()
        if os.geteuid() == 0:
            self.user = _ordinary_user()
            shutil.chown(self.directory, self.user)

    def prepare(self) -> None:
        options = ["--username=cliffwatch", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            [self._initdb, "-D", str(self._data), *options],
            capture_output=True,
            text=True,
            user=self.user,
            cwd=self.directory,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def command(self) -> Sequence[str]:
        # fsync guards against the machine's death, not the process's: kill() loses nothing without it.
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        flags = [f"--{name}={value}" for name, value in settings.items()]
        return [self._postgres, "-D", str(self._data), "-p", str(self.port), *flags]

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self._dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def new_database(self) -> str:
        """SQLAlchemy URL of a fresh, empty database."""
        name = f"test_{next(self._names)}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._dsn(name).replace("postgresql://", "postgresql+psycopg://")

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _dsn(self, database: str) -> str:
        return f"postgresql://cliffwatch@{self.address}/{database}"


def _ordinary_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class WebhookReceiver:
    """Where Alertmanager's webhooks go: collects (path, payload) pairs on a thread of its own."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class _Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.path, yaml.safe_load(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Base address; what follows it names the route."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert of every payload, in order of arrival."""
        return [alert for _, payload in self.received for alert in payload["alerts"]]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
