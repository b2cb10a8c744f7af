"""YAML of the pages: our own config is loaded, and what others read has only keys that they know."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from docs.handbook.markdown import ROOT, Block, blocks, pages
from monitor.config.model import ENVIRONMENT_PREFIX, Config, load_config
from monitor.errors import MonitorError
from monitor.evals.gate import Floors, read_floors
from tests.deploy.test_kubernetes import KUBERNETES_VERSIONS
from tests.docs.command_checks import check_command
from tests.docs.shell import commands
from tests.programs import required_program

BLOCKS = [
    pytest.param(block, id=block.place) for page in pages() for block in blocks(page, "yaml") if not block.unchecked
]

CUSTOM_RESOURCES: Mapping[str, Any] = json.loads((Path(__file__).parent / "custom_resources.json").read_text())
"""
Keys of the custom resources of Argo Rollouts 1.9.1, Flagger 1.44.0 and Kustomize; null is free.

Left out are parts that belong to Kubernetes itself, such as the template of a pod.
"""

COLLECTOR_KEYS = {"receivers", "processors", "exporters", "extensions", "connectors", "service"}
KAFKA_EXPORTER_KEYS = {
    *(
        "brokers",
        "protocol_version",
        "client_id",
        "resolve_canonical_bootstrap_servers_only",
        "tls",
        "auth",
        "metadata",
    ),
    *("traces", "logs", "metrics", "profiles", "topic_from_attribute", "partition_traces_by_id", "producer", "timeout"),
    *("partition_metrics_by_resource_attributes", "partition_logs_by_resource_attributes", "retry_on_failure"),
    *("sending_queue",),
}
"""Keys of the Kafka exporter of the Collector's contrib distribution since 0.124."""


@pytest.fixture(autouse=True)
def _undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(variable)


@pytest.mark.stack
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_what_its_reader_takes(block: Block) -> None:
    """Each document is known by its keys; one that nobody here can check is marked in the page."""
    for document in yaml.safe_load_all(block.text):
        _check(document)


@pytest.mark.stack
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("kafka: {brokers: a}", id="a key of the config that is none"),
        pytest.param("rollout: {share_jump: 2}", id="a value that is not allowed"),
        pytest.param("floors: [{teir: hard, pass_rate: 0.5}]", id="a floor of nothing"),
        pytest.param("something: else", id="a document that nobody knows"),
        pytest.param(
            "{exporters: {kafka: {topics: a}}, service: {pipelines: {traces: {exporters: [kafka]}}}}",
            id="a key that the Collector does not know",
        ),
        pytest.param(
            "{apiVersion: flagger.app/v1beta1, kind: Canary, spec: {analysis: {weight: 1}}}",
            id="a key that Flagger does not know",
        ),
        pytest.param("{apiVersion: v1, kind: Service, spec: {port: 1}}", id="a key that Kubernetes does not know"),
        pytest.param("groups: [{name: a, rules: [{alert: A, expr: 'a b'}]}]", id="a rule that is no PromQL"),
        pytest.param("route: {receiver: nobody}", id="a receiver that is none"),
        pytest.param("jobs: {a: {runs-on: b, steps: [{run: cliffwatch verdikt}]}}", id="a step of no command"),
    ],
)
def test_what_its_reader_does_not_take_is_reported(text: str) -> None:
    """Or else the test above would say nothing."""
    with pytest.raises((AssertionError, MonitorError, kubernetes_validate.ValidationError)):
        _check(yaml.safe_load(text))


def _check(document: Any) -> None:
    assert isinstance(document, dict)
    readers = [check for is_one, check in _READERS if is_one(document)]
    assert 1 == len(readers), f"a document with the keys {', '.join(document)}"
    readers[0](document)


def _check_config(document: Mapping[str, Any]) -> None:
    load_config(_written(document))


def _check_collector(document: Mapping[str, Any]) -> None:
    """Components of pipelines are the declared ones, and Kafka's exporter is told what it knows."""
    pipelines = document["service"]["pipelines"]
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines.values() for name in pipeline.get(kind, ())}
        assert used == document.get(kind, {}).keys()
    for name, exporter in document["exporters"].items():
        if name.partition("/")[0] == "kafka":
            assert exporter.keys() <= KAFKA_EXPORTER_KEYS


def _check_custom_resource(document: Mapping[str, Any]) -> None:
    known = CUSTOM_RESOURCES[f"{document['apiVersion']} {document['kind']}"]
    assert [] == list(_unknown_keys(document, {**known, "metadata": None}))


def _unknown_keys(value: Any, known: Mapping[str, Any] | None, path: str = "") -> Iterator[str]:
    if known is None:
        return
    if isinstance(value, list):
        for each in value:
            yield from _unknown_keys(each, known, path)
    elif isinstance(value, dict):
        for key, below in value.items():
            if key in known:
                yield from _unknown_keys(below, known[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"


def _check_kubernetes(document: Mapping[str, Any]) -> None:
    for version in KUBERNETES_VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)


@cache
def _chart_values() -> Mapping[str, Any]:
    values: Mapping[str, Any] = yaml.safe_load((ROOT / "deploy" / "helm" / "values.yaml").read_text())
    return {key: value for key, value in values.items() if key not in Config.model_fields}


def _check_values(document: Mapping[str, Any]) -> None:
    """Values of the Helm chart, and the settings in them."""
    _check_config(document.get("config", {}))


def _check_rules(document: Mapping[str, Any]) -> None:
    _run("promtool", "check", "rules", _written(document))


def _check_prometheus(document: Mapping[str, Any]) -> None:
    _run("promtool", "check", "config", "--syntax-only", _written(document))


def _check_alertmanager(document: Mapping[str, Any]) -> None:
    """A part of the shipped file stands for itself within it."""
    shipped = yaml.safe_load((ROOT / "rules" / "alertmanager.yml").read_text())
    _run("amtool", "check-config", _written({**shipped, **document}))


def _check_workflow(document: Mapping[str, Any]) -> None:
    """Steps run commands that there are, or name an action."""
    for job in document["jobs"].values():
        assert {"runs-on", "steps"} <= job.keys()
        for step in job["steps"]:
            assert step.keys() & {"run", "uses"}
            for command in commands(step.get("run", "")):
                check_command(command)


def _check_floors(document: Mapping[str, Any]) -> None:
    """What `cliffwatch report --gate` reads."""
    read_floors("block.yml", yaml.safe_dump(dict(document)).encode())


def _check_compose(document: Mapping[str, Any]) -> None:
    """An override of the shipped file names services of it."""
    shipped = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert document["services"].keys() <= shipped["services"].keys()


def _written(document: Mapping[str, Any]) -> Path:
    file = Path("block.yml").resolve()
    file.write_text(yaml.safe_dump(dict(document), sort_keys=False))
    return file


def _run(program: str, *arguments: str | Path) -> None:
    done = subprocess.run([required_program(program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda document: document.keys() >= set(keys) and "apiVersion" not in document


_READERS: list[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], None]]] = [
    (
        lambda document: (
            document.keys() <= Config.model_fields.keys() and "pipelines" not in document.get("service", {})
        ),
        _check_config,
    ),
    (
        lambda document: document.keys() <= COLLECTOR_KEYS and "pipelines" in document.get("service", {}),
        _check_collector,
    ),
    (
        lambda document: f"{document.get('apiVersion')} {document.get('kind')}" in CUSTOM_RESOURCES,
        _check_custom_resource,
    ),
    (
        lambda document: (
            "apiVersion" in document and f"{document['apiVersion']} {document['kind']}" not in CUSTOM_RESOURCES
        ),
        _check_kubernetes,
    ),
    (lambda document: document.keys() <= _chart_values().keys(), _check_values),
    (lambda document: document.keys() <= set(Floors.model_fields), _check_floors),
    (_has("groups"), _check_rules),
    (_has("scrape_configs"), _check_prometheus),
    (lambda document: document.keys() <= {"route", "receivers", "inhibit_rules", "templates"}, _check_alertmanager),
    (_has("jobs"), _check_workflow),
    (_has("services"), _check_compose),
]
"""Who takes a document: what it looks like, and how it is checked."""
