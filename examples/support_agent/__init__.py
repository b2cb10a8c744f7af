"""
A support agent instrumented with OpenTelemetry, and a rollout in which its model is replaced.

`tasks` is what customers ask, `model` a simulated language model, `agent` the instrumented agent and its judge,
`export` the way into Kafka or a file, `rollout` the order of events, and `python -m examples.support_agent` the whole.
"""
