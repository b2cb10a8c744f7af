# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["llama-index-core", "llama-index-llms-openai-like", "opentelemetry-instrumentation-genai-llama-index", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""LlamaIndex with OpenTelemetry's own instrumentation."""

import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike

from weather import ask_all, get_weather, instrument_all

instrument_all()


def ask(question: str):
    llm = OpenAILike(
        model="gpt-4o-mini",
        api_base=os.environ["OPENAI_BASE_URL"],
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
    )
    agent = FunctionAgent(name="weather", tools=[get_weather], llm=llm, streaming=False)

    async def run():
        return await agent.run(question)

    return run()


ask_all(ask)
