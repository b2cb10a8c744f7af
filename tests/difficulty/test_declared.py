"""Declared tiers: by the request itself, or by the first rule that fits."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from monitor.difficulty.tagger import declared_tier
from monitor.difficulty.tiers import Tier
from monitor.trace.model import Request, Tool
from monitor.trace.settings import TierRule

TOOLS = tuple(Tool(f"tool_{number}", "", "{}") for number in range(4))
RULES = (
    TierRule(tier="frontier", capability="migration_*", min_tools=4),
    TierRule(tier="hard", min_messages=20),
    TierRule(tier="hard", attribute="language", equals="cobol"),
    TierRule(tier="medium", attribute="files", at_least=5),
    TierRule(tier="easy", capability="faq", max_tools=1, max_messages=3),
)


@pytest.mark.parametrize(
    ("request_", "tier"),
    [
        pytest.param(Request("migration_db", tools=TOOLS), Tier.FRONTIER, id="a pattern and a count of tools"),
        pytest.param(Request("migration_db", tools=TOOLS[:3]), None, id="one tool too few"),
        pytest.param(Request("faq", messages=20), Tier.HARD, id="a long conversation"),
        pytest.param(Request("faq"), None, id="a conversation of unknown length fits no limit"),
        pytest.param(Request("code", attributes={"language": "cobol", "files": 9.0}), Tier.HARD, id="first rule wins"),
        pytest.param(Request("code", attributes={"files": 5.0}), Tier.MEDIUM, id="a number at the limit"),
        pytest.param(Request("code", attributes={"files": "many"}), None, id="a word is no number"),
        pytest.param(Request("faq", messages=3, tools=TOOLS[:1]), Tier.EASY, id="both limits at once"),
        pytest.param(Request("faq", messages=3, attributes={"tier": " Hard"}), Tier.HARD, id="its own word first"),
        pytest.param(Request("faq", messages=3, attributes={"tier": "gold"}), Tier.EASY, id="another meaning of tier"),
        pytest.param(Request("code", attributes={"tier": 2.0}), None, id="a number is no tier"),
        pytest.param(Request("code", attributes={"tier": "untiered"}), None, id="untiered declares nothing"),
    ],
)
def test_the_tier_is_what_the_request_or_the_first_rule_that_fits_says(request_: Request, tier: Tier | None) -> None:
    """Attribute, capability, tools, messages and attributes."""
    assert tier == declared_tier(request_, RULES)


def test_a_rule_with_an_unknown_tier_is_refused() -> None:
    """A misspelt tier, and a value of no attribute, are found when the config is read."""
    with pytest.raises(ValidationError, match="tier"):
        TierRule.model_validate({"tier": "impossible"})
    with pytest.raises(ValidationError, match="attribute needs equals or at_least"):
        TierRule(tier="hard", equals="cobol")
