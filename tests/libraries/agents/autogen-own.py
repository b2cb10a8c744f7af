# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["autogen-agentchat", "autogen-ext[openai]", "openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""AutoGen AgentChat with the spans that it writes itself."""

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from weather import ask_all, get_weather, provider

provider()
client = OpenAIChatCompletionClient(model="gpt-4o-mini", max_retries=0)


async def ask(question: str) -> None:
    agent = AssistantAgent("weather", model_client=client, tools=[get_weather], reflect_on_tool_use=True)
    await agent.run(task=question)


ask_all(ask)
