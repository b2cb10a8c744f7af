# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["langgraph", "langchain", "langchain-openai", "opentelemetry-instrumentation-genai-langchain", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""LangChain's agent with OpenTelemetry's own instrumentation."""

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from weather import ask_all, get_weather, instrument_all

instrument_all()
agent = create_agent(ChatOpenAI(model="gpt-4o-mini", max_retries=0), [get_weather], name="weather")
ask_all(lambda question: agent.invoke({"messages": [{"role": "user", "content": question}]}))
