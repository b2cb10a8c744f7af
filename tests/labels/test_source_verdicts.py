"""Who said what of a request."""

from __future__ import annotations

from itertools import permutations

import pytest

from monitor.labels.source_verdicts import NO_VERDICTS, SourceVerdicts, source_verdicts
from monitor.trace.model import Outcome
from monitor.trace.settings import OutcomeSettings

ERROR = Outcome(success=False, source="status")
ENDED = Outcome(success=True, source="status")
THUMB = Outcome(success=True, source="thumbs")
JUDGED = Outcome(success=True, source="judge", sampling_probability=0.5)
PERSON = Outcome(success=False, source="human", sampling_probability=0.1)


@pytest.mark.parametrize(
    ("standing", "verdicts"),
    [
        pytest.param((), NO_VERDICTS, id="nobody"),
        pytest.param((ERROR,), SourceVerdicts("f---"), id="a check looks at every run, so it has no weight"),
        pytest.param((ENDED, THUMB), SourceVerdicts("pp--", 1.0), id="other names are reported"),
        pytest.param((ENDED, JUDGED), SourceVerdicts("p-p-", 2.0), id="a judge that looks at every second run"),
        pytest.param((ENDED, JUDGED, PERSON), SourceVerdicts("p-pf", 2.0, 10.0), id="a person beside the judge"),
        pytest.param((PERSON,), SourceVerdicts("---f", 10.0, 10.0), id="a person alone"),
    ],
)
def test_each_kind_of_source_has_a_letter_and_a_weight(standing: tuple[Outcome, ...], verdicts: SourceVerdicts) -> None:
    """Checks, reports, the judge and people are told apart, in any order of their verdicts."""
    assert {verdicts} == {source_verdicts(order, OutcomeSettings()) for order in permutations(standing)}


def test_a_source_that_is_not_believed_says_nothing() -> None:
    """What the settings leave out of their sources leaves no letter."""
    assert NO_VERDICTS == source_verdicts((JUDGED,), OutcomeSettings(sources=("human", "status")))


def test_one_failed_evaluation_of_the_judge_is_its_word() -> None:
    """Several evaluations of one source are resolved as the label is."""
    tone = Outcome(success=False, source="judge", evaluation="tone")

    assert "--f-" == source_verdicts((JUDGED, tone), OutcomeSettings()).pattern
