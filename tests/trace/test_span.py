from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from monitor.trace.bounds import MOST_COUNTED
from monitor.trace.model import Budget, Tool, TraceId
from monitor.trace.span import OperationKind, Span
from tests.trace.spans import a_span

_text = st.text(max_size=8)
_number = st.floats(allow_nan=False, allow_infinity=False)
_count = st.none() | st.integers(0, MOST_COUNTED)
any_span = st.builds(
    Span,
    trace_id=_text.map(TraceId),
    span_id=_text,
    started_at=_number,
    ended_at=st.none() | _number,
    parent_span_id=st.none() | _text,
    kind=st.sampled_from(list(OperationKind)),
    error=st.none() | st.booleans(),
    text=st.none() | _text,
    tools=st.lists(st.builds(Tool, _text, _text, _text), max_size=2).map(tuple),
    budget=st.builds(Budget, _count, _count, st.none(), st.none() | _number),
    attributes=st.dictionaries(_text, _number | _text, max_size=3),
    input_tokens=_count,
)


@given(any_span)
def test_msgpack_holds_the_whole_span(span: Span) -> None:
    """What was put down is taken up again unchanged."""
    assert span == msgpack.decode(msgpack.encode(span), type=Span)


@pytest.mark.slow
@given(any_span, any_span)
def test_equal_spans_have_equal_json_and_others_other(left: Span, right: Span) -> None:
    """JSON is canonical, so that a database can tell duplicates."""
    assert (left == right) == (left.to_json() == right.to_json())


def test_json_is_compact() -> None:
    """What is not known takes no room."""
    assert {"trace_id", "span_id", "started_at", "ended_at", "kind", "service"} == json.loads(a_span().to_json()).keys()


def test_root_that_runs_closes_nothing() -> None:
    """Only a root that has ended closes its trace."""
    cases: list[dict[str, Any]] = [{}, {"ended_at": None}, {"parent_span_id": "x"}]

    assert [True, False, False] == [a_span(**case).is_ended_root for case in cases]


@given(any_span, any_span)
def test_of_two_accounts_of_a_span_one_is_kept(left: Span, right: Span) -> None:
    """Of two that differ exactly one outranks the other, so that their order does not matter."""
    assert (left != right) == (left.outranks(right) != right.outranks(left))


def test_account_of_a_span_that_has_ended_is_kept() -> None:
    """A span that was also told while it still ran is the one that ended, whatever else either of them says."""
    running, ended, later = (
        a_span(ended_at=None, service="z"),
        a_span(service="a"),
        a_span(ended_at=a_span().started_at + 9),
    )

    assert ended.outranks(running)
    assert later.outranks(ended)
    assert not running.outranks(later)


def test_account_of_a_span_that_says_more_is_kept() -> None:
    """Of two pipelines that carry the same spans, one may redact them."""
    whole, redacted = a_span(agent_name="a", answered=True), a_span()

    assert (True, False) == (whole.outranks(redacted), redacted.outranks(whole))


def test_what_a_later_version_wrote_can_be_read() -> None:
    """While replicas are upgraded one by one, a span may have fields that the older ones do not know."""
    kept = msgpack.encode({"of_tomorrow": 1, **msgpack.decode(msgpack.encode(a_span()))})

    assert a_span() == msgpack.decode(kept, type=Span)
