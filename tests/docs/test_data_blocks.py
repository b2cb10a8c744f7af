"""Blocks of events, queries and code."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.handbook.markdown import Block, blocks, pages
from tests.programs import required_program
from tests.trace.events import decode_native


def _blocks(language: str) -> list[Block]:
    return [block for page in pages() for block in blocks(page, language) if not block.unchecked]


def each(language: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", _blocks(language), ids=lambda block: block.place)


@each("json")
def test_an_event_is_read(block: Block) -> None:
    """What calls itself an event decodes, without a field that is not known; anything else is JSON."""
    for document in _documents(block.text):
        if isinstance(document, dict) and str(document.get("schema", "")).startswith("cliffwatch."):
            assert 0 == decode_native(json.dumps(document).encode()).unknown_fields


def _documents(text: str) -> list[Any]:
    """One JSON text over several lines, or one on each line."""
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


@pytest.mark.stack
def test_queries_are_promql(tmp_path: Path) -> None:
    """Prometheus parses every one of them."""
    rules = [{"record": f"block:{number}", "expr": block.text} for number, block in enumerate(_blocks("promql"))]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "blocks", "rules": rules}]}))

    done = subprocess.run(
        [required_program("promtool"), "check", "rules", file], capture_output=True, text=True, check=False
    )

    assert rules
    assert done.returncode == 0, done.stdout + done.stderr


@each("python")
def test_code_is_python(block: Block) -> None:
    """Each block can be compiled."""
    assert ast.parse(block.text).body
