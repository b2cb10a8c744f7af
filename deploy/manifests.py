"""
The Kubernetes manifests that repeat other files: `python -m deploy.manifests` writes them from rules/ and grafana/.

A base may not read files above itself, so rules and dashboards are written into it; a test holds the copies to their
sources.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "kubernetes"
RULES = Path(__file__).parents[1] / "rules" / "cliffwatch.rules.yml"
DASHBOARDS = Path(__file__).parents[1] / "grafana" / "dashboards"

_LABELS = "    app.kubernetes.io/name: cliffwatch\n"


def main() -> None:
    """Write every manifest that is generated."""
    for name, text in manifests().items():
        (FOLDER / name).write_text(text)


def manifests() -> Mapping[str, str]:
    """Text of each generated manifest by the name of its file."""
    return {"prometheus-rule.yaml": _prometheus_rule(), "dashboards.yaml": _dashboards()}


def _prometheus_rule() -> str:
    groups = textwrap.indent(RULES.read_text().partition("\ngroups:\n")[2], "  ")
    return (
        f"{_generated_from('rules/cliffwatch.rules.yml')}"
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
