"""Every block of every page is looked at by one of the tests beside this one, or says why it cannot be."""

from __future__ import annotations

import pytest

from docs.handbook.markdown import Block, blocks, pages

BLOCKS = [block for page in pages() for block in blocks(page)]

CHECKED = {
    "sh": "test_shell_blocks.py",
    "yaml": "test_yaml_blocks.py",
    "json": "test_data_blocks.py",
    "promql": "test_data_blocks.py",
    "python": "test_data_blocks.py",
}
"""Who looks at a block of each language."""

SHOWN = {"text": "what a program prints, or a picture in letters", "mermaid": "a picture"}
"""Languages of blocks that nobody types."""

MOST_UNCHECKED = 5


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_has_a_language_that_somebody_looks_at(block: Block) -> None:
    """What is typed is sh, yaml, json, promql or python; what is only shown is text."""
    assert block.language in CHECKED.keys() | SHOWN


def test_few_blocks_go_unchecked() -> None:
    """Those with `<!-- unchecked: why -->` above them."""
    unchecked = {block.place: block.unchecked for block in BLOCKS if block.unchecked}

    assert len(unchecked) <= MOST_UNCHECKED, unchecked
