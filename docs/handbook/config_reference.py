"""The reference of the config: every key with its default, what is allowed and what it means."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from docs.handbook.tables import code, table
from monitor.config.model import ENVIRONMENT_PREFIX, sections
from monitor.config.reference import Setting, entry_kind, settings_of, yaml_value

_HEAD = f"""# Config

One YAML file, given with `--config.file`; a key that is left out has its default, and a key that is not known is an error with its line.
`{ENVIRONMENT_PREFIX}<SECTION>__<KEY>` in the environment wins over the file, for example `{ENVIRONMENT_PREFIX}KAFKA__BOOTSTRAP_SERVERS`.
Deeper keys take more double underscores; lists and mappings are written as JSON.
[`cliffwatch.yaml`](../../cliffwatch.yaml) is the same as a file to start from, and `cliffwatch check-config FILE` says what is wrong with yours.

"""


def page() -> str:
    """The page, in Markdown."""
    return _HEAD + "\n".join(_section(name, kind) for name, kind in sections().items())


def _section(name: str, kind: Any) -> str:
    about = (kind.__doc__ or "").strip().partition("\n")[0]
    return f"## {name}\n\n{about}\n\n{_settings(kind, name)}"


def _settings(kind: Any, path: str) -> str:
    rows = [_row(f"{path}.{key}", setting) for key, setting in _flat(kind)]
    lists = [(f"{path}.{key}", entry_kind(setting.kind)) for key, setting in _flat(kind)]
    entries = [_entries(name, entry) for name, entry in lists if settings_of(entry)]
    return table(("key", "default", "meaning"), rows) + "".join(entries)


def _flat(kind: Any, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for name, setting in settings_of(kind).items():
        if dataclasses.is_dataclass(setting.default):
            yield from _flat(type(setting.default), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", setting


def _entries(name: str, kind: Any) -> str:
    """What one entry of the list *name* consists of."""
    return f"\n### Entries of {name}\n\n{_settings(kind, name.rpartition('.')[2] + '[]')}"


def _row(name: str, setting: Setting) -> tuple[str, ...]:
    default = "required" if setting.is_required else code(yaml_value(setting.default))
    return f'<a id="{name}"></a>`{name}`', default, f"{setting.doc} Allowed: {setting.allowed}."
