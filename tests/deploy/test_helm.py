"""The Helm chart: linted, rendered by Helm with its defaults and with everything on, and read as Kubernetes does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.manifests import CHART, DASHBOARDS, GATES, RULES, SERVICE_LEVELS, chart_files
from monitor import __version__
from monitor.config.model import load_config
from monitor.web.guard import PROBES
from tests.deploy.test_kubernetes import KUBERNETES_VERSIONS, MANIFESTS, groups
from tests.docs.test_yaml_blocks import CUSTOM_RESOURCES, _unknown_keys
from tests.programs import required_program

SCRAPE: Mapping[str, Any] = {
    "scheme": "https",
    "tlsConfig": {"ca": {"secret": {"name": "web", "key": "ca.crt"}}, "serverName": "cliffwatch"},
    "basicAuth": {name: {"name": "scrape", "key": name} for name in ("username", "password")},
}
EVERYTHING: Mapping[str, Any] = {
    "image": {"tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
    "replicas": 3,
    "kafka": {"bootstrapServers": "kafka.messages:9093"},
    "ledger": {"secretName": "database", "secretKey": "uri"},
    "config": {
        "rollout": {"maturity_seconds": 900, "floors": [{"service": "shop", "pass_rate": 0.4}]},
        "kafka": {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": "cliffwatch",
            "sasl_password_file": "/etc/cliffwatch/secrets/kafka/password",
        },
    },
    "secretFiles": [{"name": "kafka", "secretName": "kafka-user"}],
    "env": [{"name": "CLIFFWATCH_LOG__LEVEL", "value": "debug"}],
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "endpoint": SCRAPE},
    "probes": {"scheme": "HTTPS"},
    "rules": {"enabled": True, "labels": {"release": "prometheus"}},
    "gates": {"argoRollouts": True, "namespace": "shop"},
    "networkPolicy": {"kafkaPorts": [9093], "ledgerPorts": [6432], "from": ["prometheus"]},
    "podDisruptionBudget": {"minAvailable": 2},
    "serviceAccount": {"annotations": {"a": "b"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "agents"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "agents", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
}
NOTHING: Mapping[str, Any] = {
    name: {"enabled": False} for name in ("dashboards", "networkPolicy", "podDisruptionBudget")
}
VALUES = {"defaults": {}, "everything": EVERYTHING, "nothing": NOTHING}
each_way = pytest.mark.parametrize("way", VALUES)

pytestmark = pytest.mark.stack


@cache
def rendered(way: str, release: str = "cliffwatch") -> Mapping[str, Any]:
    """What Helm makes of the chart, by kind and name."""
    arguments = ["template", release, str(CHART), "--namespace", "watch", "--kube-version", KUBERNETES_VERSIONS[0]]
    text = _helm(*arguments, "--values", "-", stdin=json.dumps(VALUES[way]))
    documents = [each for each in yaml.safe_load_all(text) if each]
    assert len(documents) == len({(each["kind"], each["metadata"]["name"]) for each in documents})
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in documents}


def _helm(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        [required_program("helm"), *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@each_way
def test_helm_finds_nothing_wrong(way: str) -> None:
    """Strictly: a warning is an error."""
    told = _helm("lint", str(CHART), "--strict", "--values", "-", stdin=json.dumps(VALUES[way]))

    assert "1 chart(s) linted, 0 chart(s) failed" in told


@each_way
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_what_is_rendered_follows_the_schema_of_kubernetes(way: str, version: str) -> None:
    """Strictly; the resources of Argo Rollouts have the keys that it knows, those of the operator its kinds."""
    for name, manifest in rendered(way).items():
        known = CUSTOM_RESOURCES.get(f"{manifest['apiVersion']} {manifest['kind']}")
        if known is not None:
            assert [] == list(_unknown_keys(manifest, {**known, "metadata": None}))
        elif manifest["apiVersion"] == "monitoring.coreos.com/v1":
            assert name in ("ServiceMonitor/cliffwatch", "PrometheusRule/cliffwatch")
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_values_choose_what_is_installed() -> None:
    """By default what any cluster takes; with everything on, all; with everything off, what runs."""
    kinds = {way: {each["kind"] for each in rendered(way).values()} for way in VALUES}

    runs = {"ConfigMap", "Deployment", "Service", "ServiceAccount"}
    protects = {"NetworkPolicy", "PodDisruptionBudget"}
    assert runs == kinds["nothing"]
    assert runs | protects == kinds["defaults"]
    assert runs | protects | {"AnalysisTemplate", "PrometheusRule", "ServiceMonitor"} == kinds["everything"]


@each_way
def test_the_config_is_one_that_the_service_takes(way: str, tmp_path: Path) -> None:
    """It listens where the probes ask, and reads the ledger's URL from the mounted secret."""
    file = tmp_path / "cliffwatch.yaml"
    file.write_text(rendered(way)["ConfigMap/cliffwatch-config"]["data"]["cliffwatch.yaml"])
    (container,) = rendered(way)["Deployment/cliffwatch"]["spec"]["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    config = load_config(file)

    assert f"{mounts['config']}/cliffwatch.yaml" == container["args"][-1]
    assert f"{mounts['ledger']}/url" == config.ledger.url_file
    assert f":{container['ports'][0]['containerPort']}" == config.web.listen_address
    assert 900 == config.rollout.maturity_seconds or way != "everything"
    assert "/etc/cliffwatch/secrets/kafka/password" == config.kafka.sasl_password_file or way != "everything"


def test_a_changed_config_starts_new_pods() -> None:
    """A ConfigMap alone would be read at the next restart only."""
    pods = [rendered(way)["Deployment/cliffwatch"]["spec"]["template"] for way in ("defaults", "everything")]

    assert 2 == len({pod["metadata"]["annotations"]["cliffwatch.example.invalid/config"] for pod in pods})


def test_the_pod_is_that_of_the_kustomize_base() -> None:
    """Same probes, resources and security; two ways to install are one thing to run."""
    chart, base = (
        each["Deployment/cliffwatch"]["spec"]["template"]["spec"] for each in (rendered("defaults"), MANIFESTS)
    )
    (container,), (of_base,) = chart["containers"], base["containers"]
    same = ("args", "ports", "startupProbe", "livenessProbe", "readinessProbe", "resources", "securityContext")

    assert {key: of_base[key] for key in same} == {key: container[key] for key in same}
    assert base["securityContext"] == chart["securityContext"]
    assert base["terminationGracePeriodSeconds"] == chart["terminationGracePeriodSeconds"]
    assert f"registry.example.invalid/cliffwatch:{__version__}" == container["image"]


def test_probes_and_scrapes_get_past_a_web_config_file() -> None:
    """TLS for both; a user for scrapes alone, since probes are answered without one."""
    (container,) = rendered("everything")["Deployment/cliffwatch"]["spec"]["template"]["spec"]["containers"]
    (endpoint,) = rendered("everything")["ServiceMonitor/cliffwatch"]["spec"]["endpoints"]
    probes = [container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")]

    assert [("HTTPS", None)] * 3 == [
        (probe["httpGet"]["scheme"], probe["httpGet"].get("httpHeaders")) for probe in probes
    ]
    assert PROBES == {probe["httpGet"]["path"] for probe in probes}
    assert {"port": "http", "interval": "15s", "honorLabels": True, **SCRAPE} == endpoint


def test_the_network_policy_opens_the_ports_of_the_values() -> None:
    """Names, Kafka and the ledger out; who may ask, in."""
    policy = rendered("everything")["NetworkPolicy/cliffwatch"]["spec"]

    assert [53, 53, 9093, 6432] == [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ["prometheus"] == policy["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0]["values"]


def test_rules_dashboards_and_gates_are_the_shipped_ones() -> None:
    """Rendered from files that are generated, with the address of this release in the gates."""
    everything = rendered("everything", "night")
    shipped = {path.name: json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json")}
    maps = [each for name, each in everything.items() if name.startswith("ConfigMap") and "config" not in name]
    gates = [each for each in everything.values() if each["kind"] == "AnalysisTemplate"]
    addresses = {arg["value"] for each in gates for arg in each["spec"]["args"] if arg["name"] == "address"}

    assert [*groups(RULES), *groups(SERVICE_LEVELS)] == everything["PrometheusRule/night-cliffwatch"]["spec"]["groups"]
    assert shipped == {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert len(list(yaml.safe_load_all((GATES / "argo-rollouts.yaml").read_text()))) == len(gates)
    assert {"http://night-cliffwatch.watch:9464"} == addresses
    assert {"shop"} == {each["metadata"]["namespace"] for each in gates}


@pytest.mark.parametrize("name", chart_files())
def test_generated_files_are_what_their_sources_make(name: str) -> None:
    """Rules, dashboards and gates are changed where they live and written with `make generate`."""
    assert chart_files()[name] == (CHART / "files" / name).read_text()


def test_the_chart_is_of_this_release() -> None:
    """Its own version and that of the image move together."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert (__version__, __version__) == (chart["version"], chart["appVersion"])
