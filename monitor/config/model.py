"""
The config: one YAML file, overridden by `CLIFFWATCH_*` variables in the environment.

`python -m monitor.config.model` prints the commented reference file with every default.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from monitor.config.file import ConfigFile, KeyPath, Problem, bytes_of, checked, leaves, parse_config_file, unknown_key
from monitor.config.reference import entry_kind, is_scalar, reference_config, setting_at, settings_of
from monitor.config.settings import Settings
from monitor.difficulty.settings import DifficultySettings
from monitor.errors import ConfigInvalid, os_errors
from monitor.ingest.settings import KafkaSettings
from monitor.ledger.settings import LedgerSettings
from monitor.log import LogSettings
from monitor.rollout.policy import Policy
from monitor.service.settings import ServiceSettings
from monitor.trace.settings import Limits, TraceSettings
from monitor.web.settings import WebSettings

ENVIRONMENT_PREFIX = "CLIFFWATCH_"

_DELIMITER = "__"
PASSWORD_IN_URL = re.compile(r"(?is)://[^:/?#\s]*:.+@|[?&](?:\w*password|passwd)=")


class Config(Settings):
    """Everything that you can set, by stage; each stage declares its own settings."""

    log: LogSettings = LogSettings()
    web: WebSettings = WebSettings()
    kafka: KafkaSettings = KafkaSettings()
    limits: Limits = Limits()
    traces: TraceSettings = TraceSettings()
    difficulty: DifficultySettings = DifficultySettings()
    ledger: LedgerSettings = LedgerSettings()
    rollout: Policy = Policy()
    service: ServiceSettings = ServiceSettings()


_SECTIONS = settings_of(Config)
# Variables with one underscore where two are needed. Whole keys only, since Kubernetes sets CLIFFWATCH_SERVICE_HOST for
# a service with the name cliffwatch.
_WITH_ONE_UNDERSCORE = {
    f"{section}_{key}": f"{section}{_DELIMITER}{key}"
    for section, each in _SECTIONS.items()
    for key in settings_of(each.annotation)
}


def load_config(path: str | Path | None = None) -> Config:
    """
    The checked config of the file at *path* (None: only defaults and the environment).

    Raises:
        ConfigInvalid: with one line `file:line: key: what is wrong (what is allowed)` for every problem; in the
            environment, the name of the variable replaces file and line.
    """
    file = ConfigFile() if path is None else parse_config_file(_read(Path(path)))
    given = {name: value for name, value in file.values.items() if value is not None or name not in _SECTIONS}
    variables = _variables()
    values = reduce(_merged, (_nested(path, value) for path, (_, value) in variables.items()), given)
    config, problems = checked(Config, values, file)
    by_place = {problem.path: problem for problem in (*problems, *_secrets(given, file))}
    sentences = [*_sorted_sentences(by_place.values(), str(path), variables), *_unknown_variables()]
    if sentences or config is None:
        raise ConfigInvalid("\n".join(sentences))
    return config


def _read(path: Path) -> bytes:
    with os_errors(ConfigInvalid, f"{path.absolute()}: cannot be read", "`cliffwatch init` writes one"):
        return bytes_of(path)


def _merged(values: Any, winning: Any) -> Any:
    if not (isinstance(values, dict) and isinstance(winning, dict)):
        return winning
    return values | {key: _merged(values.get(key), value) for key, value in winning.items()}


def _nested(path: KeyPath, value: Any) -> Any:
    return reduce(lambda below, key: {key: below}, reversed(path), value)


_Variables = Mapping[KeyPath, tuple[str, Any]]
"""Name and value of each environment variable, by the path of its key."""


def _variables() -> _Variables:
    paths = {variable: _path_of(variable) for variable in sorted(os.environ)}
    # Known sections only: Kubernetes sets CLIFFWATCH_PORT and the like for a service with the name cliffwatch.
    known = {path: variable for variable, path in paths.items() if path and path[0] in _SECTIONS}
    return {path: (variable, _decoded(path, os.environ[variable])) for path, variable in known.items()}


def _path_of(variable: str) -> tuple[str, ...]:
    if not variable.upper().startswith(ENVIRONMENT_PREFIX):
        return ()
    return tuple(variable[len(ENVIRONMENT_PREFIX) :].lower().split(_DELIMITER))


def _decoded(path: tuple[str, ...], text: str) -> Any:
    setting = setting_at(Config, path)
    if setting is None or is_scalar(setting.annotation):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, (list, dict)):
        return value
    if is_scalar(entry_kind(setting.annotation)):
        return [word.strip() for word in text.split(",")]
    return text  # validation refuses it


def _unknown_variables() -> Iterator[str]:
    for variable in sorted(os.environ):
        section, *below = _path_of(variable) or ("",)
        if below and section not in _SECTIONS:
            yield f"{variable}: {unknown_key(section, _SECTIONS)}"
        if section in _WITH_ONE_UNDERSCORE:
            meant = ENVIRONMENT_PREFIX + _WITH_ONE_UNDERSCORE[section].upper()
            yield f"{variable}: two underscores stand between section and key (write {meant})"


def _secrets(given: Mapping[str, Any], file: ConfigFile) -> Iterator[Problem]:
    """Passwords in the file itself, which is often shown, copied and stored in insecure places."""
    for path, value in leaves(given, ()):
        key = str(path[-1])
        if isinstance(value, str) and value and (key.endswith("_password") or PASSWORD_IN_URL.search(value)):
            variable = ENVIRONMENT_PREFIX + _DELIMITER.join(str(step) for step in path).upper()
            sentence = f"holds a password, which does not belong in this file (set {variable}"
            has_file_key = setting_at(Config, (*path[:-1], f"{key}_file")) is not None
            sentence += f", or name a file with {key}_file)" if has_file_key else ")"
            yield Problem(file.line(path), path, sentence)


def _sorted_sentences(problems: Iterable[Problem], name: str, variables: _Variables) -> list[str]:
    keyed = []
    for problem in problems:
        variable = _variable(problem.path, variables)
        in_environment = f"{variable}: {problem.key}: {problem.sentence}"
        keyed.append((1, 0, in_environment) if variable else (0, problem.line, problem.of(name)))
    return [sentence for *_, sentence in sorted(keyed)]


def _variable(path: KeyPath, variables: _Variables) -> str:
    """The variable that set the value at *path*, or the list or mapping that should contain it; empty if none did."""
    for end in range(len(path), 0, -1):
        variable, value = variables.get(path[:end], ("", None))
        if variable and (_holds(value, path[end:]) or (len(path) > end + 1 and _holds(value, path[end:-1]))):
            return variable
    return ""


def _holds(values: Any, path: KeyPath) -> bool:
    try:
        reduce(lambda below, step: below[step], path, values)
    except (KeyError, IndexError, TypeError):
        return False
    return True


if __name__ == "__main__":
    sys.stdout.write(reference_config(Config))
