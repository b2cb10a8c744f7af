# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["langgraph", "langchain", "langchain-openai", "openinference-instrumentation-langchain", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""LangGraph: a hand-over to another graph, and a run that stops for an approval and goes on in another trace."""

import uuid

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from openinference.instrumentation.langchain import LangChainInstrumentor
from weather import ask_all, provider

LangChainInstrumentor().instrument(tracer_provider=provider())
model = ChatOpenAI(model="gpt-4o-mini", max_retries=0)


def think(state):
    return {"messages": [model.invoke(state["messages"])]}


def hand_over(state):
    return Command(goto="writer", graph=Command.PARENT, update={"messages": state["messages"]})


def approve(_state):
    interrupt("ok?")
    return {}


def chain(second, **options):
    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("second", second)
    graph.add_edge(START, "think")
    graph.add_edge("think", "second")
    return graph.compile(**options)


outer = StateGraph(MessagesState)
outer.add_node("router", chain(hand_over, name="router"))
outer.add_node("writer", create_agent(model, [], name="writer"))
outer.add_edge(START, "router")
handing_over = outer.compile(name="handoff")
waiting = chain(approve, checkpointer=InMemorySaver(), name="hitl")


def ask(question: str) -> None:
    asked = {"messages": [{"role": "user", "content": question}]}
    handing_over.invoke(asked)
    thread = {"configurable": {"thread_id": str(uuid.uuid4())}}
    waiting.invoke(asked, thread)
    waiting.invoke(Command(resume=True), thread)


ask_all(ask)
