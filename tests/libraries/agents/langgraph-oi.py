# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["langgraph", "langchain", "langchain-openai", "openinference-instrumentation-langchain", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""A LangGraph supervisor with two agents, with OpenInference."""

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from openinference.instrumentation.langchain import LangChainInstrumentor
from weather import ask_all, get_weather, provider

LangChainInstrumentor().instrument(tracer_provider=provider())
model = ChatOpenAI(model="gpt-4o-mini", max_retries=0)
graph = StateGraph(MessagesState)
graph.add_node("researcher", create_agent(model, [get_weather], name="researcher"))
graph.add_node("writer", create_agent(model, [], name="writer"))
graph.add_edge(START, "researcher")
graph.add_edge("researcher", "writer")
app = graph.compile(name="supervisor")
ask_all(lambda question: app.invoke({"messages": [{"role": "user", "content": question}]}))
