from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from monitor.trace.labels import clean_label

WHOLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")


@given(st.text() | st.from_regex(WHOLE, fullmatch=True))
def test_label_is_fit_or_missing(text: str) -> None:
    """Whatever comes out fits, and what fitted before comes out unchanged."""
    label = clean_label(text)

    assert label is None or WHOLE.fullmatch(label)
    assert not WHOLE.fullmatch(text) or label == text


@given(st.text())
def test_mending_twice_is_mending_once(text: str) -> None:
    """A mended label stays as it is."""
    label = clean_label(text)

    assert label is None or label == clean_label(label)
