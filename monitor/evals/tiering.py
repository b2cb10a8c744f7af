"""How hard each case is, as the suite's own labels say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from monitor.difficulty.tiers import Tier
from monitor.evals.cases import Case
from monitor.evals.pairing import Pair
from monitor.evals.words import counted

LABEL_KEYS = ("tier", "difficulty", "level", "difficulty_level", "hardness")
"""Metadata that is taken for a tier label where nobody names one."""

_WORDS: Mapping[str, Tier] = {
    "easy": Tier.EASY,
    "simple": Tier.EASY,
    "trivial": Tier.EASY,
    "medium": Tier.MEDIUM,
    "moderate": Tier.MEDIUM,
    "intermediate": Tier.MEDIUM,
    "hard": Tier.HARD,
    "difficult": Tier.HARD,
    "adversarial": Tier.HARD,
    "frontier": Tier.FRONTIER,
}
_SHOWN = 4


class TierSource(StrEnum):
    """What told the tiers."""

    LABELS = "labels"
    CALIBRATION = "calibration"
    REFERENCE = "reference"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Tiering:
    """
    Pairs with their tiers, and who told them.

    Attributes:
        explanation: One sentence for the reader: where the tiers come from, or how to get some.
        notes: What could not be used, one sentence each.
    """

    pairs: Sequence[Pair]
    source: TierSource
    explanation: str
    notes: Sequence[str] = ()

    @property
    def is_told(self) -> bool:
        """At least one case has a tier."""
        return any(pair.tier is not Tier.UNTIERED for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class LabelRule:
    """
    How the suite's labels are read.

    Attributes:
        column: Metadata that holds the label, or None to guess.
        tier_of: Tier by label, in lower case; beside the words for tiers that everybody knows.
    """

    column: str | None = None
    tier_of: Mapping[str, Tier] = field(default_factory=dict)

    def tier(self, label: str) -> Tier:
        """The tier that *label* stands for; untiered where nobody says."""
        folded = label.strip().casefold()
        return self.tier_of.get(folded) or _WORDS.get(folded) or Tier.UNTIERED


HOW_TO_GET_TIERS = (
    "Name the suite's own labels (--tier-column difficulty --tier hard=level5), results of other models "
    "(--reference FILE), or a calibration (--ledger URL)."
)


def without_tiers(pairs: Sequence[Pair], notes: Sequence[str] = ()) -> Tiering:
    """*pairs* as they are: the report is only an aggregate."""
    return Tiering(
        pairs, TierSource.NONE, f"Tiers are not known, so this report is only an aggregate. {HOW_TO_GET_TIERS}", notes
    )


def tiers_by_label(pairs: Sequence[Pair], rule: LabelRule) -> Tiering | None:
    """*pairs* with the tiers that the suite's labels say; None where no case has one."""
    columns = LABEL_KEYS if rule.column is None else (rule.column,)
    found = Counter(column for pair in pairs if (column := _column_of(pair, columns)) is not None)
    if not found:
        return None
    column = next(column for column in columns if column in found)
    unclear: Counter[str] = Counter()
    tiered = []
    for pair in pairs:
        label = _label(pair, column)
        tier = Tier.UNTIERED if label is None else rule.tier(label)
        if label is not None and tier is Tier.UNTIERED:
            unclear[label] += 1
        tiered.append(replace(pair, tier=tier))
    notes = tuple(_notes(tiered, unclear, labelled=sum(_label(pair, column) is not None for pair in pairs)))
    if all(pair.tier is Tier.UNTIERED for pair in tiered):
        return Tiering(
            tiered,
            TierSource.NONE,
            f"The suite's labels ({column}) name no tier, so this report is only an aggregate.",
            notes,
        )
    return Tiering(tiered, TierSource.LABELS, f"Tiers are the suite's own labels ({column}).", notes)


def _notes(pairs: Sequence[Pair], unclear: Counter[str], *, labelled: int) -> Iterable[str]:
    if unclear:
        shown = ", ".join(f"{label} ({count:,})" for label, count in unclear.most_common(_SHOWN))
        more = f" and {len(unclear) - _SHOWN} more" if len(unclear) > _SHOWN else ""
        yield f'Labels that name no tier: {shown}{more}; map them with --tier "hard={unclear.most_common(1)[0][0]}".'
    if labelled < len(pairs):
        yield f"Without a label, and untiered: {len(pairs) - labelled:,} of {counted(len(pairs), 'case')}."


def _column_of(pair: Pair, columns: Sequence[str]) -> str | None:
    return next((column for column in columns if _label(pair, column) is not None), None)


def _label(pair: Pair, column: str) -> str | None:
    for case in (pair.candidate, pair.baseline):
        value = _value(case, column)
        if value is not None:
            return value
    return None


def _value(case: Case, column: str) -> str | None:
    folded = column.casefold()
    value = case.metadata.get(column)
    if value is None:
        value = next((each for name, each in case.metadata.items() if name.casefold() == folded), None)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None or not str(value).strip() else str(value).strip()
