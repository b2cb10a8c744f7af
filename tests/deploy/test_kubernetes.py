from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.manifests import DASHBOARDS, FOLDER, RULES, SERVICE_LEVELS, manifests
from monitor import __version__
from monitor.config.model import load_config
from monitor.web.guard import PROBES

OPERATIONS = FOLDER.parent.parent / "docs" / "operations.md"
KUBERNETES_VERSIONS = ("1.29", "1.34")
_OPERATOR = "monitoring.coreos.com/v1"
_ANNOTATION_LIMIT_BYTES = 262_144


def _documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


KUSTOMIZATION = _documents("kustomization.yaml")[0]
MANIFESTS = {
    f"{manifest['kind']}/{manifest['metadata']['name']}": manifest
    for name in KUSTOMIZATION["resources"]
    for manifest in _documents(name)
}


def groups(rules: Path) -> list[dict[str, Any]]:
    """Rule groups of a file."""
    return yaml.safe_load(rules.read_text())["groups"]


def test_every_file_is_part_of_the_base() -> None:
    """Nothing lies in the folder that `kubectl apply -k` leaves out."""
    (config,) = KUSTOMIZATION["configMapGenerator"]
    listed = [*KUSTOMIZATION["resources"], *config["files"], "kustomization.yaml"]

    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(listed)


@pytest.mark.parametrize("name", manifests())
def test_generated_manifests_are_what_their_sources_make(name: str) -> None:
    """Rules and dashboards are changed where they live and written with `make generate`."""
    assert manifests()[name] == (FOLDER / name).read_text()


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("name", [name for name, each in MANIFESTS.items() if each["apiVersion"] != _OPERATOR])
def test_manifests_follow_the_schema_of_kubernetes(name: str, version: str) -> None:
    """Strictly: a key that Kubernetes does not know is an error."""
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_the_rule_manifest_holds_the_shipped_rules() -> None:
    """The operator hands Prometheus the very groups that promtool tests."""
    assert {"groups": [*groups(RULES), *groups(SERVICE_LEVELS)]} == MANIFESTS["PrometheusRule/cliffwatch"]["spec"]


def test_the_dashboard_manifests_hold_the_shipped_dashboards() -> None:
    """Each is found by the sidecar's label and is small enough for kubectl to apply."""
    shipped = {path.name: json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json")}
    maps = [each for each in MANIFESTS.values() if each["kind"] == "ConfigMap"]

    assert shipped == {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert ["1"] * len(shipped) == [each["metadata"]["labels"]["grafana_dashboard"] for each in maps]
    assert max(len(json.dumps(each)) for each in maps) < _ANNOTATION_LIMIT_BYTES


def test_prometheus_finds_the_metrics_and_keeps_their_labels() -> None:
    """ServiceMonitor, Service and container agree on labels and port, and `service` stays the watched agent's."""
    monitor, service = MANIFESTS["ServiceMonitor/cliffwatch"], MANIFESTS["Service/cliffwatch"]
    pod = MANIFESTS["Deployment/cliffwatch"]["spec"]["template"]
    (endpoint,), (port,), (container,) = (
        monitor["spec"]["endpoints"],
        service["spec"]["ports"],
        pod["spec"]["containers"],
    )

    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] == container["ports"][0]["name"]
    assert endpoint["honorLabels"]


def test_the_container_runs_the_config_that_is_mounted(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config is valid, listens where the probes ask, and reads the ledger's URL from the mounted secret."""
    spec = MANIFESTS["Deployment/cliffwatch"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    monkeypatch.chdir(tmp_path)

    config = load_config(FOLDER / "cliffwatch.yaml")

    assert f"{mounts['config']}/cliffwatch.yaml" == container["args"][-1]
    assert f"{mounts['ledger']}/url" == config.ledger.url_file
    assert f":{container['ports'][0]['containerPort']}" == config.web.listen_address
    assert mounts.keys() == {volume["name"] for volume in spec["volumes"]}


def test_probes_ask_what_needs_no_password() -> None:
    """Basic auth in a web config file restarts no pod."""
    (container,) = MANIFESTS["Deployment/cliffwatch"]["spec"]["template"]["spec"]["containers"]

    assert PROBES == {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}


def test_the_overlay_for_tls_and_a_password_fits_the_base() -> None:
    """Each of its patches names a place that the manifests have, and replaces what stands there."""
    (block,) = re.findall(r"```yaml\n(apiVersion: kustomize.*?)```", OPERATIONS.read_text(), re.DOTALL)
    overlay = yaml.safe_load(block)
    patches = [(each["target"], step) for each in overlay["patches"] for step in yaml.safe_load(each["patch"])]

    assert FOLDER == (OPERATIONS.parent.parent / "x" / "y" / overlay["resources"][0]).resolve()
    assert 5 == len(patches)
    for target, step in patches:
        place: Any = MANIFESTS[f"{target['kind']}/{target['name']}"]
        *above, key = step["path"].strip("/").split("/")
        for name in above:
            place = place[int(name)] if isinstance(place, list) else place[name]
        assert ("replace" == step["op"]) == (key in place)


def test_the_container_may_do_no_more_than_it_needs() -> None:
    """No root, no writable image, no capability, no token."""
    spec = MANIFESTS["Deployment/cliffwatch"]["spec"]["template"]["spec"]
    security = spec["containers"][0]["securityContext"]

    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    assert (False, True) == (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"])
    assert ["ALL"] == security["capabilities"]["drop"]


def test_the_image_is_of_this_release() -> None:
    """The tag is the version of the package."""
    assert [__version__] == [image["newTag"] for image in KUSTOMIZATION["images"]]


def test_the_pod_runs_under_the_runtimes_own_filter_and_within_limits() -> None:
    """System calls are filtered, memory and scratch space have an end, and the file of the ledger is not for all."""
    spec = MANIFESTS["Deployment/cliffwatch"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}

    assert "RuntimeDefault" == spec["securityContext"]["seccompProfile"]["type"]
    assert not container["securityContext"]["privileged"]
    assert {"memory", "ephemeral-storage"} == container["resources"]["limits"].keys()
    assert {"medium": "Memory", "sizeLimit": "64Mi"} == volumes["tmp"]["emptyDir"]
    assert 0o440 == volumes["ledger"]["secret"]["defaultMode"]
    assert not spec["enableServiceLinks"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not MANIFESTS["ServiceAccount/cliffwatch"]["automountServiceAccountToken"]


def test_the_network_policy_lets_through_what_the_service_needs() -> None:
    """It selects the pods, both ways, lets scrapers in where the container listens, and the configured Kafka out."""
    policy = MANIFESTS["NetworkPolicy/cliffwatch"]["spec"]
    template = MANIFESTS["Deployment/cliffwatch"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    broker_port = int(load_config(FOLDER / "cliffwatch.yaml").kafka.bootstrap_servers.rpartition(":")[2])
    out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}

    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert ["Ingress", "Egress"] == policy["policyTypes"]
    assert {container["ports"][0]["name"]} == {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert [] == [rule for rule in policy["ingress"] if not rule["from"]]
    assert {53, 5432, broker_port} <= out
