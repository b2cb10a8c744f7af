# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["agent-framework-core", "agent-framework-openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""A workflow of Microsoft Agent Framework: two agents, one after the other, for one request."""

from agent_framework import Agent, WorkflowBuilder
from agent_framework.observability import enable_instrumentation
from agent_framework.openai import OpenAIChatCompletionClient
from weather import ask_all, provider

provider()
enable_instrumentation(enable_sensitive_data=True)
client = OpenAIChatCompletionClient(model="gpt-4o-mini")


async def ask(question: str) -> None:
    writer, reviewer = (Agent(client=client, name=name, instructions="Be brief.") for name in ("writer", "reviewer"))
    await WorkflowBuilder(start_executor=writer).add_edge(writer, reviewer).build().run(question)


ask_all(ask)
