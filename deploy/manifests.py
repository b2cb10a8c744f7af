"""
What the Kustomize base and the Helm chart repeat of other files: `python -m deploy.manifests` writes it from rules/,
grafana/ and deploy/gates.

Neither may read files above itself, so rules, dashboards and gates are written into them; a test holds the copies to
their sources.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "kubernetes"
CHART = Path(__file__).parent / "helm"
GATES = Path(__file__).parent / "gates"
RULES = Path(__file__).parents[1] / "rules" / "cliffwatch.rules.yml"
SERVICE_LEVELS = RULES.with_name("slo.rules.yml")
DASHBOARDS = Path(__file__).parents[1] / "grafana" / "dashboards"

_LABELS = "    app.kubernetes.io/name: cliffwatch\n"


def main() -> None:
    """Write every file that is generated."""
    for name, text in manifests().items():
        (FOLDER / name).write_text(text)
    for name, text in chart_files().items():
        (CHART / "files" / name).write_text(text)


def chart_files() -> Mapping[str, str]:
    """Text of each generated file of the Helm chart by its path below `files`."""
    dashboards = {f"dashboards/{path.name}": _compact(path) for path in sorted(DASHBOARDS.glob("*.json"))}
    gates = (GATES / "argo-rollouts.yaml").read_text()
    rules = _generated_from("rules/cliffwatch.rules.yml") + RULES.read_text()
    levels = _generated_from("rules/slo.rules.yml") + SERVICE_LEVELS.read_text()
    return {"cliffwatch.rules.yml": rules, "slo.rules.yml": levels, "argo-rollouts.yaml": gates, **dashboards}


def manifests() -> Mapping[str, str]:
    """Text of each generated manifest by the name of its file."""
    return {"prometheus-rule.yaml": _prometheus_rule(), "dashboards.yaml": _dashboards()}


def _prometheus_rule() -> str:
    groups = "".join(  # the second file has its lists two columns further to the left
        textwrap.indent(file.read_text().partition("\ngroups:\n")[2], margin)
        for file, margin in ((RULES, "  "), (SERVICE_LEVELS, "    "))
    )
    return (
        f"{_generated_from('rules/cliffwatch.rules.yml and rules/slo.rules.yml')}"
        "apiVersion: monitoring.coreos.com/v1\n"
        "kind: PrometheusRule\n"
        "metadata:\n"
        "  name: cliffwatch\n"
        f"  labels:\n{_LABELS}"
        "spec:\n"
        f"  groups:\n{groups}"
    )


def _dashboards() -> str:
    return _generated_from("grafana/dashboards") + "---\n".join(
        "apiVersion: v1\n"
        "kind: ConfigMap\n"
        "metadata:\n"
        f"  name: cliffwatch-dashboard-{path.stem}\n"
        f'  labels:\n{_LABELS}    grafana_dashboard: "1"  # what the sidecar of Grafana\'s Helm chart looks for\n'
        "  annotations:\n"
        "    grafana_folder: Cliffwatch\n"
        "data:\n"
        f"  {path.name}: |\n{textwrap.indent(_compact(path), '    ')}"
        for path in sorted(DASHBOARDS.glob("*.json"))
    )


def _compact(path: Path) -> str:
    """One panel per line: kubectl keeps a second copy of a manifest in an annotation that holds 256 KiB."""
    document = json.loads(path.read_text())
    panels = document.pop("panels")
    head = json.dumps(document, sort_keys=True)
    lines = ",\n ".join(json.dumps(panel, sort_keys=True) for panel in panels)
    return f'{head[:-1]}, "panels": [\n {lines}\n]}}\n'


def _generated_from(source: str) -> str:
    return f"# Generated from {source} by `make generate`; do not edit.\n"


if __name__ == "__main__":
    main()
