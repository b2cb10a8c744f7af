"""The file of floors that a team agreed on before it saw the results, checked by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from monitor.config.file import ConfigFile, KeyPath, Problem, parse_config_file, unknown_key
from monitor.errors import ConfigInvalid

_Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_TierName = Literal["easy", "medium", "hard", "frontier", "hard_tier"]
_UNKNOWN_KEY, _MISSING = "extra_forbidden", "missing"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class FloorRule(_Part):
    """
    A lower limit of the candidate's pass rate: of a tier, of a capability class, of both, or of everything.

    *tier* `hard_tier` is hard and frontier together; *by* is the number that the floor is held against.
    """

    pass_rate: _Ratio
    tier: _TierName | None = None
    capability: str | None = None
    by: Literal["estimate", "lower_bound"] = "estimate"
    agreed_by: str = ""
    agreed_on: str = ""


class Limits(_Part):
    """
    Upper limits; those left out do not hold.

    *newly_failing* and *drop* are by tier, `hard_tier`, `all` or capability class: cases that passed and fail now, and
    the fall of the pass rate (0 to 1).
    """

    hard_share_of_failures: _Ratio | None = None
    excess_over_uniform_gain: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None = None
    newly_failing: Mapping[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    drop: Mapping[str, _Ratio] = Field(default_factory=dict)


class Floors(_Part):
    """
    Everything that a gate holds a report to.

    Attributes:
        verdict: Verdicts that open the gate; a regression never does.
        must_pass: Cases, by name or as `task/name`, that the candidate has to pass.
        undecided: Whether a rule that cannot be decided counts as broken.
        unscored: What a case without a score counts as against a floor.
    """

    floors: tuple[FloorRule, ...] = ()
    limits: Limits = Limits()
    verdict: Annotated[tuple[Literal["ok", "cliff", "waiting"], ...], Field(min_length=1)] = ("ok", "cliff", "waiting")
    must_pass: tuple[str, ...] = ()
    undecided: Literal["fails", "passes"] = "fails"
    unscored: Literal["fails", "left_out"] = "fails"


def read_floors(name: str, content: bytes) -> Floors:
    """
    The rules in a YAML file.

    Raises:
        ConfigInvalid: with a line for everything that is wrong.
    """
    file = parse_config_file(content)
    problems = list(file.problems)
    floors = Floors()
    if not problems:
        try:
            floors = Floors.model_validate(file.values)
        except ValidationError as error:
            problems = [_problem(details, file) for details in error.errors(include_url=False)]
        else:
            problems = list(_nothing_to_hold(floors))
    if problems:
        found = sorted(problems, key=lambda problem: (problem.line, problem.key, problem.sentence))
        raise ConfigInvalid("\n".join(problem.of(name) for problem in found))
    return floors


def _nothing_to_hold(floors: Floors) -> Iterator[Problem]:
    if floors == Floors(undecided=floors.undecided, unscored=floors.unscored):
        yield Problem(1, (), "holds no rule, so nothing would be checked: add verdict, floors, limits or must_pass")


def _problem(details: ErrorDetails, file: ConfigFile) -> Problem:
    path = tuple(step for step in details["loc"] if step != "[key]")
    return Problem(file.line(path), path, _sentence(path, details))


def _sentence(path: KeyPath, details: ErrorDetails) -> str:
    if details["type"] == _UNKNOWN_KEY:
        return unknown_key(str(path[-1]), _allowed_at(path[:-1]))
    if details["type"] == _MISSING:
        return "is missing"
    message = details["msg"]
    return f"{message[:1].lower()}{message[1:]}"


def _allowed_at(path: KeyPath) -> Sequence[str]:
    models: Mapping[tuple[str, ...], type[BaseModel]] = {(): Floors, ("floors",): FloorRule, ("limits",): Limits}
    return list(models[tuple(step for step in path if isinstance(step, str))].model_fields)
