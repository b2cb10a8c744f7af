from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import bcrypt
import httpx
import pytest

from monitor.errors import ConfigInvalid
from monitor.metrics.snapshot import HealthFact, SnapshotHolder
from monitor.web.server import MetricsServer
from monitor.web.settings import WebSettings
from monitor.web.web_config import WebConfig, load_web_config, tls_context
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


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/-/reload", "/-/readyz", "/-/ready/", "//-/ready", "/api/v1/rollouts", "/nothing"]
)
def test_every_path_asks_for_a_password(guarded: httpx.Client, path: str) -> None:
    """Without one you see nothing, not even which paths there are."""
    answer = guarded.get(path)

    assert (401, "Unauthorized\n") == (answer.status_code, answer.text)
    assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("credentials", [None, ("alice", "wrong"), ("bob", PASSWORD)])
def test_probes_need_no_password(guarded: httpx.Client, credentials: tuple[str, str] | None) -> None:
    """A kubelet has none; what it may ask tells the status."""
    answers = [guarded.get(path, auth=credentials) for path in ("/-/healthy", "/-/ready")]

    assert [(200, "healthy\n"), (200, "ready\n")] == [(answer.status_code, answer.text) for answer in answers]


def test_only_who_has_the_password_is_told_why_it_is_not_ready(tmp_path: Path) -> None:
    """A reason may name hosts and users."""
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users:\n  alice: {HASH}\n")
    settings = WebSettings(listen_address="127.0.0.1:0", config_file=str(file))
    holder = SnapshotHolder(
        replace(
            a_snapshot(),
            is_ready=False,
            health=(HealthFact("ledger", is_ok=False, sentence="db-7.internal does not answer"),),
        )
    )
    server = MetricsServer(settings, holder, lambda: None, stall_reason=lambda: "the poll of kafka-3 hangs")
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        told = {
            (path, bool(user)): client.get(path, auth=user)
            for path in ("/-/healthy", "/-/ready")
            for user in (None, ("alice", PASSWORD))
        }
    server.stop()

    assert {503} == {answer.status_code for answer in told.values()}
    assert ["not healthy\n", "the poll of kafka-3 hangs\n", "not ready\n", "db-7.internal does not answer\n"] == [
        answer.text for answer in told.values()
    ]


def test_the_right_password_lets_in_again_and_again(guarded: httpx.Client) -> None:
    """The second request is answered from memory, and is let in like the first."""
    answers = [guarded.get("/metrics", auth=("alice", PASSWORD)) for _ in range(2)]

    assert [200, 200] == [answer.status_code for answer in answers]


@pytest.mark.slow
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
    with pytest.raises(ConfigInvalid, match="not a certificate and its key"):
        serve(f"tls_server_config:\n  cert_file: {certificate}/key.pem\n  key_file: {certificate}/cert.pem\n")


def test_a_client_without_a_certificate_is_refused_where_one_is_asked_for(serve: Serve, certificate: Path) -> None:
    """Mutual TLS: who shows a certificate of the authority is answered, who shows none is not."""
    server = serve(
        f"tls_server_config:\n  cert_file: {certificate}/cert.pem\n  key_file: {certificate}/key.pem\n"
        f"  client_ca_file: {certificate}/cert.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
        "  min_version: TLS13\n"
    )
    anonymous = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    known = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    known.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    with httpx.Client(verify=known, trust_env=False) as client:
        answer = client.get(f"{server.url}/-/ready")
    with httpx.Client(verify=anonymous, trust_env=False) as client, pytest.raises(httpx.TransportError):
        client.get(f"{server.url}/-/ready")

    assert answer.status_code == 200


def test_an_old_version_of_tls_is_not_spoken(serve: Serve, certificate: Path) -> None:
    """A client that knows no more than the oldest version but one is refused."""
    server = serve(
        f"tls_server_config:\n  cert_file: {certificate}/cert.pem\n  key_file: {certificate}/key.pem\n"
        "  min_version: TLS13\n"
    )
    old = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with httpx.Client(verify=old, trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get(f"{server.url}/-/ready")


def test_a_reload_takes_a_renewed_certificate(serve: Serve, certificate: Path, tmp_path: Path) -> None:
    """Certificates that expire are renewed without a restart."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((certificate / name).read_bytes())
    server = serve("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
    trusted = ssl.create_default_context(cafile=str(certificate / "cert.pem"))

    (tmp_path / "cert.pem").write_text("no certificate")
    with httpx.Client(verify=trusted, trust_env=False) as client:
        refused = client.post(f"{server.url}/-/reload")
    (tmp_path / "cert.pem").write_bytes((certificate / "cert.pem").read_bytes())
    with httpx.Client(verify=trusted, trust_env=False) as client:
        taken = client.post(f"{server.url}/-/reload")

    assert (500, 200) == (refused.status_code, taken.status_code)
    assert "not a certificate and its key" in refused.text


def test_headers_of_the_file_are_sent_with_every_answer(serve: Serve) -> None:
    """They replace those that are sent anyway, a refusal has them as well."""
    server = serve("http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: SAMEORIGIN\n")

    answers = [httpx.get(f"{server.url}{path}", trust_env=False) for path in ("/metrics", "/nothing")]

    assert ["SAMEORIGIN"] * 2 == [answer.headers["x-frame-options"] for answer in answers]
    assert ["nosniff"] * 2 == [answer.headers["x-content-type-options"] for answer in answers]


@pytest.mark.slow
def test_who_is_known_does_not_wait_for_guesses(tmp_path: Path) -> None:
    """However many wrong passwords are being tried, one at a time, a remembered scraper is answered at once."""
    dear = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users:\n  alice: {dear}\n")
    settings = WebSettings(listen_address="127.0.0.1:0", config_file=str(tmp_path / "web.yml"))
    server = MetricsServer(settings, SnapshotHolder(a_snapshot()), lambda: None)
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client, ThreadPoolExecutor(10) as pool:
        assert 200 == client.get("/metrics", auth=("alice", PASSWORD)).status_code
        guesses = [
            pool.submit(httpx.get, f"{server.url}/metrics", auth=("alice", f"{n}"), trust_env=False, timeout=60)
            for n in range(10)
        ]
        known = client.get("/metrics", auth=("alice", PASSWORD))
        still_guessed = sum(not guess.done() for guess in guesses)
        codes = {guess.result().status_code for guess in guesses}
    server.stop()

    assert (200, {401}) == (known.status_code, codes)
    assert still_guessed > 0


def test_names_of_files_are_relative_to_the_config(tmp_path: Path) -> None:
    """As Prometheus reads them."""
    for name in ("web.yml", "c.pem", "k.pem"):
        (tmp_path / name).write_text("tls_server_config: {cert_file: c.pem, key_file: k.pem}")

    web = load_web_config(tmp_path / "web.yml")

    assert web.tls_server_config is not None
    assert (tmp_path / "c.pem", tmp_path / "k.pem") == (web.tls_server_config.cert_file, web.tls_server_config.key_file)


def test_an_empty_file_guards_nothing(tmp_path: Path) -> None:
    """As with Prometheus: plain HTTP without authentication."""
    (tmp_path / "web.yml").write_text("")

    assert WebConfig() == load_web_config(tmp_path / "web.yml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "basic_auth_users:\n  alice: 271828\n",
            ["web.yml:2: basic_auth_users.alice: is not a bcrypt hash; `htpasswd -nBC 10 USER` makes one"],
        ),
        (
            "basic_auth_users: [alice]\n",
            ["web.yml:1: basic_auth_users: a list is not allowed (a mapping)"],
        ),
        (
            "basic_auth_users: alice:hunter2\n",
            ["web.yml:1: basic_auth_users: the text given is not allowed (a mapping)"],
        ),
        (
            "tls_server_config:\n  cert_file: nowhere.pem\n",
            [
                "web.yml:1: tls_server_config.key_file: is missing (a path)",
                "web.yml:2: tls_server_config.cert_file: FOLDER/nowhere.pem is not a file",
            ],
        ),
        (
            "tls_server_config:\n  cert_file: web.yml\n  key_file: web.yml\n  client_ca_file: 5\n",
            ["web.yml:4: tls_server_config.client_ca_file: 5 is not allowed (a path or null)"],
        ),
        (
            "tls_server_config: yes\n",
            [
                (
                    "web.yml:1: tls_server_config: true is not allowed (a mapping with the keys cert_file, key_file, "
                    "client_ca_file, client_auth_type, min_version, max_version or null)"
                ),
            ],
        ),
        (
            "http_server_config:\n  http2: true\n",
            ["web.yml:2: http_server_config.http2: true is not allowed (false)"],
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: 'a\n\n      b'\n    Server: x\n",
            [
                "web.yml:3: http_server_config.headers.X-Frame-Options: must be a line of plain text",
                (
                    "web.yml:6: http_server_config.headers.Server: must be 'Content-Security-Policy', "
                    "'X-Frame-Options', 'X-Content-Type-Options', 'X-XSS-Protection' or 'Strict-Transport-Security'"
                ),
            ],
        ),
        (
            (
                "tls_server_config:\n  cert_file: web.yml\n  key_file: web.yml\n  min_version: TLS10\n"
                "  client_auth_type: RequireAndVerifyClientCert\n  cipher_suites: []\n"
            ),
            [
                "web.yml:4: tls_server_config.min_version: `TLS10` is not allowed (TLS12 or TLS13)",
                (
                    "web.yml:5: tls_server_config.client_auth_type: needs client_ca_file (a PEM file of the "
                    "authorities that sign clients' certificates)"
                ),
                (
                    "web.yml:6: tls_server_config.cipher_suites: unknown key (allowed: cert_file, "
                    "key_file, client_ca_file, client_auth_type, min_version, max_version)"
                ),
            ],
        ),
        (
            (
                "tls_server_config:\n  cert_file: web.yml\n  key_file: web.yml\n"
                "  client_auth_type: RequireAnyClientCert\n"
                "  client_ca_file: web.yml\n  min_version: TLS13\n  max_version: TLS12\n"
            ),
            [
                (
                    "web.yml:4: tls_server_config.client_auth_type: `RequireAnyClientCert` is not allowed "
                    "(NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert)"
                ),
                "web.yml:7: tls_server_config.max_version: is older than min_version",
            ],
        ),
        (
            f"basic_auth_users:\n  alice: {HASH.replace('$04$', '$20$')}\n",
            [
                (
                    "web.yml:2: basic_auth_users.alice: has a cost above 15, so that a few wrong passwords would "
                    "keep a core busy; `htpasswd -nBC 10 USER` makes another"
                )
            ],
        ),
        (
            "basic_auth_users:\n  alice: a\n  alice: b\n",
            [
                "web.yml:2: basic_auth_users.alice: is not a bcrypt hash; `htpasswd -nBC 10 USER` makes one",
                "web.yml:3: basic_auth_users.alice: is given twice (first on line 2; keep one of them)",
            ],
        ),
    ],
    ids=[
        "a password in plain text is refused and not repeated",
        "users as a list",
        "a user and a password in one word, which is not repeated",
        "a certificate that is not there, and no key",
        "a number for a file",
        "a word for the files",
        "a protocol that is not spoken",
        "headers that are none",
        "old TLS, unknown ciphers and no authority for clients",
        "a client certificate that nobody would check, and no version between two",
        "a hash that is too dear to check",
        "a user that is given twice",
    ],
)
def test_every_problem_of_the_file_is_reported(tmp_path: Path, text: str, expected: list[str]) -> None:
    """A guard that is not understood is an error, never a door left open."""
    (tmp_path / "web.yml").write_text(text)

    with pytest.raises(ConfigInvalid) as caught:
        load_web_config(tmp_path / "web.yml")

    told = str(caught.value).replace(f"{tmp_path}/web.yml", "web.yml").replace(str(tmp_path), "FOLDER")
    assert expected == told.splitlines()


@pytest.mark.parametrize("name", ["cert", "key", "authority"])
def test_a_file_that_can_no_longer_be_read_is_named(tmp_path: Path, certificate: Path, name: str) -> None:
    """One sentence, and no traceback, for a secret that was taken away since the file was checked."""
    files = {each: tmp_path / f"{each}.pem" for each in ("cert", "key", "authority")}
    for each, file in files.items():
        file.write_bytes((certificate / ("key.pem" if each == "key" else "cert.pem")).read_bytes())
    (tmp_path / "web.yml").write_text(
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: authority.pem\n"
    )
    tls = load_web_config(tmp_path / "web.yml").tls_server_config
    assert tls is not None
    files[name].unlink()

    with pytest.raises(ConfigInvalid, match=r"cannot be read: No such file or directory"):
        tls_context(tls)


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """The server never starts unguarded because its guard was lost."""
    settings = WebSettings(listen_address="127.0.0.1:0", config_file=str(tmp_path / "web.yml"))

    with pytest.raises(ConfigInvalid, match=r"web\.config_file cannot be read"):
        MetricsServer(settings, SnapshotHolder(a_snapshot()), lambda: None)
