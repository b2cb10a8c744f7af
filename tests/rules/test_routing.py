from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping

import httpx
import pytest
import yaml

from tests.programs import required_program
from tests.rules.conftest import RULES
from tests.rules.spec import ROLLOUT
from tests.rules.test_alerts import SPECS
from tests.stack.servers import AlertmanagerServer, wait_until

pytestmark = pytest.mark.stack

CONFIG = RULES.parent / "alertmanager.yml"

RECEIVERS = {
    "CapabilityCliff": "model-oncall",
    "CandidateRegression": "model-oncall",
    "HardTierRegression": "model-oncall",
    "HardTierFloorBreached": "model-oncall",
    "HardTierFailureShareJump": "model-team",
    "HardTierGapWidening": "model-team",
    "CapabilityClassRegression": "model-team",
    "HardTierFloorChangedMidRollout": "release-owners",
    "FloatingModelAlias": "release-owners",
    "OnCallRamp": "oncall-notes",
    "FrontierProbeSolved": "model-team",
    "CliffwatchTiersUntrusted": "monitor-team",
    "CliffwatchCalibrationDoubted": "monitor-team",
    "CliffwatchLabelCoverageLow": "monitor-team",
    "CliffwatchLabelsOneSided": "monitor-team",
    "CliffwatchJudgeMoved": "monitor-team",
    "CliffwatchConsumerLagging": "monitor-team",
    "CliffwatchDeadLettersRising": "monitor-team",
    "CliffwatchClockSkew": "monitor-team",
    "CliffwatchKafkaUnreachable": "monitor-oncall",
    "CliffwatchSeriesDropped": "monitor-team",
    "CliffwatchVersionsUnresolved": "monitor-team",
    "CliffwatchConsumerStalled": "monitor-oncall",
    "CliffwatchAbsent": "monitor-oncall",
}


def _receivers(labels: Mapping[str, str]) -> list[str]:
    program = required_program("amtool")
    pairs = [f"{name}={value}" for name, value in labels.items()]
    done = subprocess.run(
        [program, "config", "routes", "test", f"--config.file={CONFIG}", *pairs],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split(",")


def test_every_alert_has_a_route_to_test() -> None:
    """The table names each alert of the rules once."""
    assert SPECS.keys() == RECEIVERS.keys()


@pytest.mark.parametrize("alert", RECEIVERS)
def test_it_reaches_those_who_know_its_signature(alert: str) -> None:
    """An alert with the labels that the rules give it goes to one receiver."""
    assert [RECEIVERS[alert]] == _receivers(SPECS[alert].labels)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"signature": "capability-class", "severity": "warning"}, ["tool-calling-team"]),
        ({"signature": "hard-tier-floor", "severity": "critical"}, ["tool-calling-team", "model-oncall"]),
    ],
    ids=["a class that regressed is a ticket of its team", "a floor of a class wakes the people on call as well"],
)
def test_a_capability_class_reaches_the_team_that_knows_it(labels: dict[str, str], receivers: list[str]) -> None:
    """The capability decides, not the severity alone."""
    assert receivers == _receivers({**labels, "tier": "hard", "capability": "parallel_function", **ROLLOUT})


def test_every_receiver_is_used() -> None:
    """No receiver is listed that no alert can reach."""
    listed = {receiver["name"] for receiver in yaml.safe_load(CONFIG.read_text())["receivers"]}

    assert listed == {*RECEIVERS.values(), "tool-calling-team"}


@pytest.fixture(scope="module")
def alertmanager() -> Iterator[AlertmanagerServer]:
    required_program("prometheus-alertmanager", "alertmanager")
    with AlertmanagerServer(CONFIG.read_text()) as server:
        yield server


@pytest.mark.parametrize(
    ("source", "target", "silenced"),
    [
        ("HardTierRegression", "HardTierFailureShareJump", True),
        ("HardTierFloorBreached", "HardTierFailureShareJump", True),
        ("CapabilityCliff", "HardTierFailureShareJump", True),
        ("HardTierRegression", "CapabilityClassRegression", False),
        ("HardTierFailureShareJump", "HardTierRegression", False),
        ("OnCallRamp", "HardTierGapWidening", True),
        ("OnCallRamp", "HardTierRegression", False),
        ("CliffwatchConsumerLagging", "HardTierRegression", False),
        ("CliffwatchCalibrationDoubted", "HardTierRegression", False),
    ],
)
def test_an_alert_silences_what_it_implies(
    source: str, target: str, *, silenced: bool, alertmanager: AlertmanagerServer
) -> None:
    """Of one rollout, and never of another service's."""
    here, elsewhere = f"{source}-{target}", f"{source}-{target}-elsewhere"
    _post(alertmanager, [(source, here), (target, here), (target, elsewhere)])

    inhibited = _inhibited(alertmanager)

    assert (silenced, False) == ((target, here) in inhibited, (target, elsewhere) in inhibited)


@pytest.mark.parametrize(
    ("firing", "told"),
    [
        (("CliffwatchKafkaUnreachable", "CliffwatchAbsent", "CliffwatchConsumerLagging"), "CliffwatchKafkaUnreachable"),
        (("CliffwatchAbsent", "CliffwatchConsumerStalled", "CliffwatchConsumerLagging"), "CliffwatchAbsent"),
    ],
    ids=["the brokers are away", "the database is away"],
)
def test_one_cause_is_one_page(firing: tuple[str, ...], told: str) -> None:
    """Of a monitor that cannot work only the cause arrives, and rollouts are told all the same."""
    required_program("prometheus-alertmanager", "alertmanager")
    with AlertmanagerServer(CONFIG.read_text()) as server:
        _post(server, [*((alert, "") for alert in firing), ("HardTierRegression", "shop")])

        inhibited = {alert for alert, _ in _inhibited(server)}

    assert {*firing, "HardTierGapWidening"} - {told} == inhibited


def test_untrusted_tiers_silence_nothing() -> None:
    """A verdict knows by itself whether its tiers may be believed; declared tiers need no calibration at all."""
    required_program("prometheus-alertmanager", "alertmanager")
    verdicts = [name for name, spec in SPECS.items() if spec.labels["signature"].startswith("hard-tier-")]
    with AlertmanagerServer(CONFIG.read_text()) as server:
        _post(server, [("CliffwatchTiersUntrusted", "shop"), *((name, f"shop-{name}") for name in verdicts)])

        inhibited = _inhibited(server)

    assert {_LAST} == inhibited


_LAST = ("HardTierGapWidening", "last")


def _post(server: AlertmanagerServer, alerts: list[tuple[str, str]]) -> None:
    """Hand *alerts* (name, service) in as Prometheus does, and wait until a last one shows that all were looked at."""
    body = [{"labels": _labels(*alert)} for alert in [*alerts, ("OnCallRamp", "last"), _LAST]]
    httpx.post(f"{server.url}/api/v2/alerts", json=body, trust_env=False).raise_for_status()
    wait_until(lambda: _LAST in _inhibited(server), what="the last alert is silenced")


def _labels(alert: str, service: str) -> dict[str, str]:
    labels = {"alertname": alert, **SPECS[alert].labels}
    return labels | {"service": service} if "service" in labels else labels


def _inhibited(server: AlertmanagerServer) -> set[tuple[str, str]]:
    alerts = [alert for alert in server.alerts() if alert["status"]["inhibitedBy"]]
    return {(alert["labels"]["alertname"], alert["labels"].get("service", "")) for alert in alerts}
