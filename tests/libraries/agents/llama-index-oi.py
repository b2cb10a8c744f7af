# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["llama-index-core", "llama-index-llms-openai-like", "openinference-instrumentation-llama-index", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""LlamaIndex with OpenInference."""

import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from weather import ask_all, get_weather, provider

LlamaIndexInstrumentor().instrument(tracer_provider=provider())


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
