# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["langgraph", "langchain", "langchain-openai", "langfuse", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""LangGraph with the handler of Langfuse, which writes the tools on offer behind the messages."""

import os

os.environ.update(LANGFUSE_PUBLIC_KEY="pk", LANGFUSE_SECRET_KEY="sk", LANGFUSE_BASE_URL=os.environ["FAKE_MODELS"])
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langfuse import Langfuse
from langfuse.langchain import CallbackHandler
from weather import ask_all, get_weather, provider

Langfuse(tracer_provider=provider())
agent = create_agent(ChatOpenAI(model="gpt-4o-mini", max_retries=0), [get_weather], name="weather")
ask_all(
    lambda question: agent.invoke(
        {"messages": [{"role": "user", "content": question}]},
        config={"callbacks": [CallbackHandler()], "metadata": {"langfuse_session_id": "s1"}},
    )
)
