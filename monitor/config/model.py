"""
The config: one YAML file, plus `CLIFFWATCH_*` in the environment, which wins.

`python -m monitor.config.model` prints the commented reference file with every default.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from monitor.config.file import ConfigFile, KeyPath, Problem, parse_config_file
from monitor.config.reference import Setting, accepts, entry_kind, is_scalar, reference_config, setting_at, settings_of
from monitor.difficulty.settings import DifficultySettings
from monitor.errors import ConfigInvalid
from monitor.ingest.settings import KafkaSettings
from monitor.ledger.settings import LedgerSettings
from monitor.log import LogSettings
from monitor.rollout.policy import Policy
from monitor.service.settings import ServiceSettings
from monitor.trace.settings import Limits, TraceSettings
from monitor.web.settings import WebSettings

ENVIRONMENT_PREFIX = "CLIFFWATCH_"

_DELIMITER = "__"
_LONGEST_SHOWN = 40
_PASSWORD_IN_URL = re.compile(r"://[^/?#\s]*:[^/?#\s]+@|://[^:/?#\s]*:\S*@|[?&](?:\w*password|passwd)=", re.IGNORECASE)
_UNKNOWN_KEY = {"unexpected_keyword_argument", "extra_forbidden"}
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}


class Config(BaseSettings):
    """Everything that a person may set, by stage; each stage declares its own settings."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter=_DELIMITER, extra="forbid", frozen=True
    )

    log: LogSettings = LogSettings()
    web: WebSettings = WebSettings()
    kafka: KafkaSettings = KafkaSettings()
    limits: Limits = Limits()
    traces: TraceSettings = TraceSettings()
    difficulty: DifficultySettings = DifficultySettings()
    ledger: LedgerSettings = LedgerSettings()
    rollout: Policy = Policy()
    service: ServiceSettings = ServiceSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file, and nothing else."""
        del env_settings, dotenv_settings, file_secret_settings
        return _EnvironmentSource(settings_cls), init_settings


def sections() -> dict[str, Any]:
    """Settings dataclass of each section of the config."""
    return {name: entry.annotation for name, entry in Config.model_fields.items()}


def load_config(path: str | Path | None = None) -> Config:
    """
    The checked config of the file at *path* (None: only defaults and the environment).

    Raises:
        ConfigInvalid: with one line `file:line: key: what is wrong (what is allowed)` for every problem; a problem in
            the environment has the name of the variable for its place.
    """
    file = ConfigFile() if path is None else parse_config_file(_read(Path(path)))
    given = {name: value for name, value in file.values.items() if name in sections() and value is not None}
    environment = _environment_values()
    problems = [*file.problems, *_unknown_sections(file), *_traps(given, file), *_traps(environment, file)]
    problems += _secrets(given, file)
    config = None
    try:
        config = Config(**given)
    except ValidationError as error:
        known = {problem.path for problem in problems}
        found = [_problem(details, file) for details in error.errors(include_url=False)]
        problems += [problem for problem in found if problem.path not in known]
    sentences = [*_sorted_sentences(problems, str(path), environment), *_unknown_variables()]
    if sentences or config is None:
        raise ConfigInvalid("\n".join(sentences))
    return config


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(
            f"{path}: cannot be read: {error.strerror}; `python -m monitor.config.model` prints a file to start from"
        ) from error


class _EnvironmentSource(PydanticBaseSettingsSource):
    """`CLIFFWATCH_SECTION__KEY`; a list or mapping is written as JSON, a list of words also with commas."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return _environment_values().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return _environment_values()


def _environment_values() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in sorted(os.environ.items()):
        path = _path_of(variable)
        if not path or path[0] not in sections():
            continue  # Kubernetes puts CLIFFWATCH_PORT and the like beside a service of that name
        place = values
        for key in path[:-1]:
            if not isinstance(place.get(key), dict):
                place[key] = {}
            place = place[key]
        place[path[-1]] = _decoded(path, text)
    return values


def _path_of(variable: str) -> tuple[str, ...]:
    if not variable.upper().startswith(ENVIRONMENT_PREFIX):
        return ()
    return tuple(variable[len(ENVIRONMENT_PREFIX) :].lower().split(_DELIMITER))


def _decoded(path: tuple[str, ...], text: str) -> Any:
    setting = setting_at(sections(), path)
    if setting is None or is_scalar(setting.kind):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, (list, dict)):
        return value
    if is_scalar(entry_kind(setting.kind)):
        return [word.strip() for word in text.split(",")]
    return text  # refused later, with what is allowed


def _unknown_sections(file: ConfigFile) -> Iterator[Problem]:
    for name in file.values:
        if name not in sections():
            yield Problem(file.line((name,)), (name,), _unknown(name, sections()))


def _unknown_variables() -> list[str]:
    return [
        f"{variable}: {_unknown(path[0], sections())}"
        for variable in sorted(os.environ)
        if len(path := _path_of(variable)) > 1 and path[0] not in sections()
    ]


def _traps(values: Mapping[str, Any], file: ConfigFile) -> Iterator[Problem]:
    """Values that pydantic would take though nobody means them: yes for 1, and numbers that are not finite."""
    for path, value in _leaves(values, ()):
        setting = setting_at(sections(), path)
        if setting is None:
            continue
        if isinstance(value, bool) and not accepts(setting.kind, bool):
            yield Problem(file.line(path), path, f"{_shown(value, setting)} is not allowed ({setting.allowed})")
        elif accepts(setting.kind, float) and not accepts(setting.kind, str) and _is_infinite(value):
            yield Problem(file.line(path), path, f"{value} is not allowed ({setting.allowed}, finite)")


def _secrets(given: Mapping[str, Any], file: ConfigFile) -> Iterator[Problem]:
    """Passwords in the file itself, which is shown, copied and kept in places where no secret belongs."""
    for path, value in _leaves(given, ()):
        key = str(path[-1])
        if isinstance(value, str) and value and (key.endswith("_password") or _PASSWORD_IN_URL.search(value)):
            variable = ENVIRONMENT_PREFIX + _DELIMITER.join(str(step) for step in path).upper()
            sentence = f"holds a password, and none may stand in this file (set {variable}"
            has_file_key = setting_at(sections(), (*path[:-1], f"{key}_file")) is not None
            sentence += f", or name a file with {key}_file)" if has_file_key else ")"
            yield Problem(file.line(path), path, sentence)


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _leaves(below, (*path, index))
    else:
        yield path, value


def _is_infinite(value: Any) -> bool:
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _problem(details: ErrorDetails, file: ConfigFile) -> Problem:
    path = tuple(details["loc"])
    return Problem(file.line(path), path, _sentence(path, details))


def _sentence(path: KeyPath, details: ErrorDetails) -> str:
    setting = setting_at(sections(), path)
    above = setting_at(sections(), path[:-1])
    if details["type"] in _UNKNOWN_KEY and above is not None:
        return _unknown(str(path[-1]), settings_of(above.kind))
    if setting is None or details["type"] == "value_error":
        return details["msg"].removeprefix("Value error, ")
    if details["type"] in _MISSING:
        return f"is missing ({setting.allowed})"
    return f"{_shown(details['input'], setting)} is not allowed ({setting.allowed})"


def _shown(value: Any, setting: Setting) -> str:
    """*value* as a person wrote it, but never free text: it may be a secret."""
    is_free = accepts(setting.kind, str)
    match value:
        case bool() | None:
            return f"{json.dumps(value)} without quotes" if is_free else json.dumps(value)
        case int() | float():
            return "a number without quotes" if is_free else str(value)
        case str():
            return "the text given" if is_free else f"`{value[:_LONGEST_SHOWN]}`"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _unknown(key: str, allowed: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, allowed, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"unknown key ({meant}allowed: {', '.join(allowed)})"


def _sorted_sentences(problems: Iterable[Problem], name: str, environment: Mapping[str, Any]) -> list[str]:
    in_file, in_environment = [], []
    for problem in problems:
        key = ".".join(str(step) for step in problem.path)
        variable = _variable(problem.path, environment)
        if variable:
            in_environment.append(f"{variable}: {key}: {problem.sentence}")
        else:
            in_file.append((problem.line, f"{name}:{problem.line}: {f'{key}: ' if key else ''}{problem.sentence}"))
    return [sentence for _, sentence in sorted(in_file)] + sorted(in_environment)


def _variable(path: KeyPath, environment: Mapping[str, Any]) -> str:
    """The variable that gave the value at *path*, or the list or mapping that lacks it; empty where none did."""
    given = {variable.upper(): variable for variable in os.environ}
    for end in range(len(path), 0, -1):
        variable = given.get(ENVIRONMENT_PREFIX + _DELIMITER.join(str(step) for step in path[:end]).upper(), "")
        if variable and (_holds(environment, path) or (len(path) > end + 1 and _holds(environment, path[:-1]))):
            return variable
    return ""


def _holds(values: Any, path: KeyPath) -> bool:
    for step in path:
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def main() -> None:
    """Print the reference config."""
    sys.stdout.write(reference_config(sections()))


if __name__ == "__main__":
    main()
