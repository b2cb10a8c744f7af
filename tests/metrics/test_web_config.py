from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import httpx
import pytest

from monitor.errors import ConfigInvalid
from monitor.metrics.server import MetricsServer
from monitor.metrics.settings import WebSettings
from monitor.metrics.snapshot import SnapshotHolder
from monitor.metrics.web_config import WebConfig, load_web_config
from tests.metrics.snapshots import a_snapshot
from tests.programs import required_program

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()

Serve = Callable[[str], MetricsServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A started server for the text of a web config file."""
    with ExitStack() as running:

        def start(text: str) -> MetricsServer:
            file = tmp_path / "web.yml"
            file.write_text(text)
            settings = WebSettings(listen_address="127.0.0.1:0", config_file=str(file))
            server = MetricsServer(settings, SnapshotHolder(a_snapshot()), lambda: None)
            server.start()
            running.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server that knows one user."""
    file = tmp_path_factory.mktemp("web") / "web.yml"
    file.write_text(f"basic_auth_users:\n  alice: {HASH}\n")
    settings = WebSettings(listen_address="127.0.0.1:0", config_file=str(file))
    server = MetricsServer(settings, SnapshotHolder(a_snapshot()), lambda: None)
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client
    server.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate of 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem"]
    subprocess.run(
        [required_program("openssl"), "req", "-x509", *key, "-out", "cert.pem", "-days", "2", *name],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/ready", "/api/v1/rollouts", "/nothing"])
def test_every_path_asks_for_a_password(guarded: httpx.Client, path: str) -> None:
    """Nothing is shown to who has none, not even which paths there are."""
    answer = guarded.get(path)

    assert (401, "Unauthorized\n") == (answer.status_code, answer.text)
    assert answer.headers["www-authenticate"].startswith("Basic")


def test_the_right_password_lets_in_again_and_again(guarded: httpx.Client) -> None:
    """The second request is answered from memory, and is let in like the first."""
    answers = [guarded.get("/metrics", auth=("alice", PASSWORD)) for _ in range(2)]

    assert [200, 200] == [answer.status_code for answer in answers]


@pytest.mark.parametrize(
    "authorization",
    [
        httpx.BasicAuth("alice", "wrong")._auth_header,
        httpx.BasicAuth("bob", PASSWORD)._auth_header,
        httpx.BasicAuth("alice", "")._auth_header,
        httpx.BasicAuth("alice", PASSWORD + "x" * 100)._auth_header,
        httpx.BasicAuth("alice", PASSWORD + "\0")._auth_header,
        "Bearer abc",
        "Basic",
        "Basic %%%",
        "Basic YWxpY2U=",
        "Basic /////w==",
    ],
    ids=[
        "a wrong password",
        "a user that does not exist",
        "no password",
        "a password that is too long for bcrypt",
        "a password with a zero byte",
        "another scheme",
        "nothing after the scheme",
        "no base64",
        "no colon",
        "no UTF-8",
    ],
)
def test_everything_else_is_refused(guarded: httpx.Client, authorization: str) -> None:
    """No form of a header makes the server fail or let in, also after somebody was let in."""
    guarded.get("/metrics", auth=("alice", PASSWORD))

    answer = guarded.get("/metrics", headers={"Authorization": authorization})

    assert answer.status_code == 401


def test_tls_is_spoken_with_the_files_named(serve: Serve, certificate: Path) -> None:
    """A client that trusts the certificate is answered."""
    server = serve(f"tls_server_config:\n  cert_file: {certificate}/cert.pem\n  key_file: {certificate}/key.pem\n")

    trusted = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    with httpx.Client(verify=trusted, trust_env=False) as client:
        answer = client.get(f"{server.url}/-/ready")

    assert (200, "https") == (answer.status_code, answer.url.scheme)


def test_files_that_are_no_pair_are_said_so(serve: Serve, certificate: Path) -> None:
    """The mistake is told at start, to the person, and not lost in a thread."""
    with pytest.raises(ConfigInvalid, match="no certificate with its key"):
        serve(f"tls_server_config:\n  cert_file: {certificate}/key.pem\n  key_file: {certificate}/cert.pem\n")


def test_names_of_files_are_relative_to_the_config(tmp_path: Path) -> None:
    """As Prometheus reads them."""
    for name in ("web.yml", "c.pem", "k.pem"):
        (tmp_path / name).write_text("tls_server_config: {cert_file: c.pem, key_file: k.pem}")

    web = load_web_config(tmp_path / "web.yml")

    assert web.tls is not None
    assert (tmp_path / "c.pem", tmp_path / "k.pem") == (web.tls.certificate, web.tls.key)


def test_an_empty_file_guards_nothing(tmp_path: Path) -> None:
    """As with Prometheus: plain HTTP without authentication."""
    (tmp_path / "web.yml").write_text("")

    assert WebConfig() == load_web_config(tmp_path / "web.yml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "basic_auth_users:\n  alice: 271828\n",
            ["web.yml:2: basic_auth_users.alice: is no bcrypt hash; `htpasswd -nBC 10 USER` makes one"],
        ),
        (
            "basic_auth_users: [alice]\n",
            ["web.yml:1: basic_auth_users: must be a mapping of user names to bcrypt hashes"],
        ),
        (
            "tls_server_config:\n  cert_file: nowhere.pem\n",
            [
                "web.yml:1: tls_server_config.key_file: is missing (the path of a PEM file)",
                "web.yml:2: tls_server_config.cert_file: FOLDER/nowhere.pem is no file",
            ],
        ),
        (
            "tls_server_config: yes\n",
            ["web.yml:1: tls_server_config: must be a mapping with the keys cert_file, key_file"],
        ),
        (
            "http_server_config:\n  http2: true\n",
            [
                (
                    "web.yml:1: http_server_config: is not read by this version "
                    "(allowed: tls_server_config, basic_auth_users)"
                )
            ],
        ),
        (
            "basic_auth_users:\n  alice: a\n  alice: b\n",
            [
                "web.yml:2: basic_auth_users.alice: is no bcrypt hash; `htpasswd -nBC 10 USER` makes one",
                "web.yml:3: basic_auth_users.alice: is given twice (first on line 2; keep one of them)",
            ],
        ),
    ],
    ids=[
        "a password in plain text is refused and not repeated",
        "users as a list",
        "a certificate that is not there, and no key",
        "a word for the files",
        "a key of Prometheus that has no meaning here",
        "a user that is given twice",
    ],
)
def test_every_problem_of_the_file_is_told(tmp_path: Path, text: str, expected: list[str]) -> None:
    """A guard that is not understood is an error, never a door left open."""
    (tmp_path / "web.yml").write_text(text)

    with pytest.raises(ConfigInvalid) as caught:
        load_web_config(tmp_path / "web.yml")

    told = str(caught.value).replace(f"{tmp_path}/web.yml", "web.yml").replace(str(tmp_path), "FOLDER")
    assert expected == told.splitlines()


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """The server never starts unguarded because its guard was lost."""
    settings = WebSettings(listen_address="127.0.0.1:0", config_file=str(tmp_path / "web.yml"))

    with pytest.raises(ConfigInvalid, match=r"web\.config_file cannot be read"):
        MetricsServer(settings, SnapshotHolder(a_snapshot()), lambda: None)
