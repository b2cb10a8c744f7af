"""The reference of the config: every key with its default, what is allowed and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from docs.handbook.tables import code, table
from monitor.config.model import ENVIRONMENT_PREFIX, Config
from monitor.config.reference import allowed, default_of, entry_kind, settings_of, summary, yaml_value

_HEAD = f"""# Config

The config is one YAML file, which you name with `--config.file`. A missing key has its default; an unknown key is an error with its line.
`{ENVIRONMENT_PREFIX}<SECTION>__<KEY>` in the environment overrides the file, for example `{ENVIRONMENT_PREFIX}KAFKA__BOOTSTRAP_SERVERS`.
Deeper keys take more double underscores; lists and mappings are written as JSON.
[`cliffwatch.yaml`](../../cliffwatch.yaml) has every key as a file to start from; `cliffwatch check-config FILE` lists the problems of yours.

"""


def page() -> str:
    """The page, in Markdown."""
    return _HEAD + "\n".join(_section(name, setting.annotation) for name, setting in settings_of(Config).items())


def _section(name: str, kind: Any) -> str:
    return f"## {name}\n\n{summary(kind)}\n\n{_settings(kind, name)}"


def _settings(kind: Any, path: str) -> str:
    flat = [(f"{path}.{key}", setting) for key, setting in _flat(kind)]
    entries = [(name, entry_kind(setting.annotation)) for name, setting in flat]
    rows = [_row(name, setting) for name, setting in flat]
    return table(("key", "default", "meaning"), rows) + "".join(
        _entries(name, entry) for name, entry in entries if settings_of(entry)
    )


def _flat(kind: Any, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, setting in settings_of(kind).items():
        if settings_of(setting.annotation):
            yield from _flat(setting.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", setting


def _entries(name: str, kind: Any) -> str:
    """What one entry of the list *name* consists of."""
    return f"\n### Entries of {name}\n\n{_settings(kind, name.rpartition('.')[2] + '[]')}"


def _row(name: str, setting: FieldInfo) -> tuple[str, ...]:
    default = "required" if setting.is_required() else code(yaml_value(default_of(setting)))
    return f'<a id="{name}"></a>`{name}`', default, f"{setting.description} Allowed: {allowed(setting)}."
