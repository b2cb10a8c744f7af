from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.config.model import load_config
from tests.programs import required_program

ROOT = Path(__file__).resolve().parents[2]
PASSWORDS = {"POSTGRES_PASSWORD": "secret1", "GRAFANA_ADMIN_PASSWORD": "secret2"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return compose


def _mounts(service: dict[str, Any]) -> dict[str, str]:
    """Host path by path in the container, of the bind mounts."""
    pairs = [volume.split(":")[:2] for volume in service.get("volumes", ())]
    return {target: source for source, target in pairs if source.startswith("./")}


@pytest.mark.stack
def test_compose_accepts_the_file() -> None:
    """Compose itself resolves the file once the two passwords are set."""
    program = required_program("docker-compose")

    done = _compose_config(program, PASSWORDS)

    assert "" == done.stderr
    # Compose 1 lists services of a profile that nobody asked for too.
    assert 7 == sum("profiles" not in service for service in yaml.safe_load(done.stdout)["services"].values())


@pytest.mark.stack
def test_the_example_is_a_profile_beside_the_others() -> None:
    """Nobody runs it unasked; asked for, it is built from the repository and waits until cliffwatch is healthy."""
    program = required_program("docker-compose")

    done = _compose_config(program, PASSWORDS, "--profile", "example")

    services = yaml.safe_load(done.stdout)["services"]
    assert 8 == len(services)
    assert "service_healthy" == services["example"]["depends_on"]["cliffwatch"]["condition"]
    assert (ROOT / services["example"]["build"]["dockerfile"]).exists()


@pytest.mark.stack
@pytest.mark.parametrize("missing", PASSWORDS)
def test_compose_refuses_to_run_without_a_password(missing: str) -> None:
    """No default password exists: an unset one is an error that says where to look."""
    program = required_program("docker-compose")

    done = _compose_config(program, {name: value for name, value in PASSWORDS.items() if name != missing})

    assert 0 != done.returncode
    assert "see deploy/example.env" in done.stderr


def _compose_config(program: str, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, "--project-directory", str(ROOT), "--file", str(ROOT / "docker-compose.yml"), *options, "config"],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_mounted_file_is_in_the_repository(services: dict[str, Any]) -> None:
    """What a container is given from the host exists."""
    sources = [source for service in services.values() for source in _mounts(service).values()]

    assert len(sources) >= 6
    assert [] == [source for source in sources if not (ROOT / source).exists()]


def test_every_published_port_is_bound_to_loopback(services: dict[str, Any]) -> None:
    """Nothing listens on the network of the machine."""
    ports = [port for service in services.values() for port in service.get("ports", ())]

    assert len(ports) >= 5
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]


def test_every_service_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    """Only the one that creates topics and the example end; cliffwatch's check is part of its image."""
    unchecked = {name for name, service in services.items() if "healthcheck" not in service}

    assert {"topics", "example", "cliffwatch"} == unchecked
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_every_named_volume_is_declared(services: dict[str, Any]) -> None:
    """Data outlives the containers."""
    declared = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["volumes"]
    named = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", ())
        if not volume.startswith(("./", "/"))
    }

    assert declared.keys() == named


def test_every_image_has_a_version(services: dict[str, Any]) -> None:
    """An upgrade is a change of the file, never a surprise."""
    images = [service["image"] for service in services.values() if "build" not in service]

    assert len(images) >= 6
    assert [] == [image for image in images if not any(digit.isdigit() for digit in image.partition(":")[2])]


@pytest.mark.stack
def test_prometheus_accepts_its_config_and_rules_as_mounted(services: dict[str, Any], tmp_path: Path) -> None:
    """With every file at the place that docker-compose.yml mounts it to, promtool finds config and rules."""
    program = required_program("promtool")
    for target, source in _mounts(services["prometheus"]).items():
        place = tmp_path / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, place)

    done = subprocess.run(
        [program, "check", "config", tmp_path / "etc/prometheus/prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert "cliffwatch.rules.yml" in done.stdout


@pytest.mark.stack
def test_alertmanager_accepts_its_config(services: dict[str, Any]) -> None:
    """The file that docker-compose.yml mounts passes amtool."""
    program = required_program("amtool")
    source = _mounts(services["alertmanager"])["/etc/alertmanager/alertmanager.yml"]

    done = subprocess.run([program, "check-config", ROOT / source], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr


def test_cliffwatch_is_configured_for_the_other_containers(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mounted config is valid with compose's environment, and names what the other services offer."""
    cliffwatch, topics = services["cliffwatch"], services["topics"]
    for name, value in cliffwatch["environment"].items():
        monkeypatch.setenv(name, value.replace("${POSTGRES_PASSWORD}", "secret1"))

    config = load_config(ROOT / _mounts(cliffwatch)["/etc/cliffwatch/cliffwatch.yaml"])

    assert "kafka:9092" == config.kafka.bootstrap_servers
    assert services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].startswith("INSIDE://kafka:9092,")
    assert "postgresql+psycopg://cliffwatch:secret1@postgres:5432/cliffwatch" == config.ledger.url
    assert ["127.0.0.1:9464:9464"] == cliffwatch["ports"]
    assert ":9464" == config.web.listen_address
    assert [] == [
        topic for topic in (*config.kafka.topics, config.kafka.dead_letter_topic) if topic not in topics["command"][0]
    ]


def test_grafana_reads_the_provisioned_dashboards_where_they_are_mounted(services: dict[str, Any]) -> None:
    """The provider's path, the mount and the home dashboard agree, and the data source is compose's Prometheus."""
    mounts = _mounts(services["grafana"])
    provisioning = ROOT / mounts["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/cliffwatch.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    path = provider["options"]["path"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert "./grafana/dashboards" == mounts[path]
    assert json.loads((ROOT / home.replace(path, mounts[path])).read_text())["uid"]
    assert "http://prometheus:9090" == source["url"]


@pytest.mark.parametrize("path", ["Dockerfile", "examples/Dockerfile"])
def test_hadolint_finds_nothing(path: str) -> None:
    """A Dockerfile keeps to the rules of the trade, without exception."""
    program = required_program("hadolint", str(Path(sys.executable).with_name("hadolint")))

    done = subprocess.run([program, ROOT / path], capture_output=True, text=True, check=False)

    assert ("", 0) == (done.stdout, done.returncode)
