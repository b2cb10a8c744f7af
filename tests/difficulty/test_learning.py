"""How many features a calibration keeps."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.difficulty.calibrating import Fit
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings

ITEMS = 20_000
MOST = 1_000


def passing_by() -> Iterator[LabelledRequest]:
    """Each item comes once, under a prompt of its own; beside every hundredth of them the same probe comes again."""
    for index in range(ITEMS):
        features = RequestFeatures("sql", item=f"item-{index}", prompt_family=f"prompt-{index}")
        version = f"version-{index // (ITEMS // 10)}"
        yield LabelledRequest(features, version, index % 3 == 0, float(index))
        if index % 100 == 0:
            yield LabelledRequest(RequestFeatures("sql", item="probe"), version, index % 200 == 0, float(index))


def test_items_without_end_leave_no_more_than_the_limit() -> None:
    """Twenty times as many items come as are kept; what recurs is known to the end."""
    fit = Fit(list(passing_by()), DifficultySettings(max_features=MOST))
    frozen = fit.freeze()

    assert ITEMS + ITEMS // 100 == fit.labels_by_version.total()
    assert len(frozen.weights) <= MOST
    assert len(frozen.items) <= MOST
    assert frozen.weights["item=probe"].versions == 10
    assert frozen.weights["capability=sql"].versions == 10
    assert fit.ability("version-3") != 0.0
