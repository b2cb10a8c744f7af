from __future__ import annotations

import pytest
from langfuse._client.attributes import LangfuseOtelSpanAttributes
from openinference.semconv import trace as openinference
from opentelemetry.semconv._incubating.attributes import (
    deployment_attributes,
    enduser_attributes,
    error_attributes,
    exception_attributes,
    gen_ai_attributes,
    service_attributes,
    session_attributes,
    user_attributes,
)

from docs.handbook import attribute_reference
from monitor.trace.semconv import ATTRIBUTES, OPERATION_KINDS, Attribute, Field

GIVEN_UP = {"langfuse.trace.input", "langfuse.trace.output"}
"""Names that Langfuse's SDK wrote before version 4 and no longer lists."""

MAPPED = {"gen_ai.usage.cost", "langfuse.session.id", "langfuse.user.id"}
"""Names that Langfuse's server reads and its SDK does not write."""


def constants(*holders: object) -> set[str]:
    return {value for holder in holders for value in vars(holder).values() if isinstance(value, str)}


OPENTELEMETRY = constants(
    deployment_attributes,
    enduser_attributes,
    error_attributes,
    exception_attributes,
    gen_ai_attributes,
    service_attributes,
    session_attributes,
    user_attributes,
)
LANGFUSE = constants(LangfuseOtelSpanAttributes) | GIVEN_UP | MAPPED
OPENINFERENCE = constants(
    openinference.SpanAttributes,
    openinference.EvaluationAttributes,
    openinference.AnnotationAttributes,
    openinference.ToolAttributes,
)


def rows_of(*conventions: str) -> list[Attribute]:
    return [row for row in ATTRIBUTES if row.convention in conventions]


def test_every_name_is_listed_once() -> None:
    """No name has two meanings, and no family begins like another one."""
    names = [row.name for row in ATTRIBUTES]
    prefixes = [row.prefix for row in ATTRIBUTES if row.prefix]

    assert len(names) == len(set(names))
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and a.startswith(b)]


@pytest.mark.parametrize("row", rows_of("OpenTelemetry", "OpenTelemetry GenAI"), ids=lambda row: row.name)
def test_opentelemetry_names_are_its_own(row: Attribute) -> None:
    """Names that we say are OpenTelemetry's are in its package of semantic conventions."""
    assert row.name in OPENTELEMETRY


@pytest.mark.parametrize("row", rows_of("Langfuse"), ids=lambda row: row.name)
def test_langfuse_names_are_its_own(row: Attribute) -> None:
    """Names that we say are Langfuse's are in its SDK, or were."""
    assert row.name in LANGFUSE


@pytest.mark.parametrize("row", rows_of("OpenInference"), ids=lambda row: row.name)
def test_openinference_names_are_its_own(row: Attribute) -> None:
    """Names that we say are OpenInference's are in its package; of a family, the collection is."""
    collection = row.name.partition(".N.")[0]

    assert collection in OPENINFERENCE


def test_kinds_of_every_convention_are_known() -> None:
    """Each kind of span that the conventions list for agents, models, tools and evaluators has a meaning here."""
    genai = {"chat", "generate_content", "text_completion", "invoke_agent", "invoke_workflow", "execute_tool"}
    langfuse = {"generation", "agent", "tool", "evaluator"}
    kinds = openinference.OpenInferenceSpanKindValues
    inference = {kind.value.lower() for kind in (kinds.LLM, kinds.AGENT, kinds.TOOL, kinds.EVALUATOR)}

    assert set() == (genai | langfuse | inference) - OPERATION_KINDS.keys()


def test_table_names_every_fact_and_attribute() -> None:
    """The table for people has a line for each row, under its fact."""
    lines = attribute_reference.attributes().splitlines()

    assert len(lines) == 2 + len(ATTRIBUTES)
    assert {str(fact) for fact in Field} == {line.split(" | ")[0].removeprefix("| ") for line in lines[2:]}
