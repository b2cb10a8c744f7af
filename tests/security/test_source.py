"""What the source may not hold, read from its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for path in (ROOT / "monitor").rglob("*.py") if "__pycache__" not in path.parts)

# They run what they read.
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "code", "codeop", "imp"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {
    ("os", "system"),
    ("os", "popen"),
    ("yaml", "load"),
    ("yaml", "load_all"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("numpy", "load"),
    ("np", "load"),
    ("tempfile", "mktemp"),
}
# They take SQL as text, or an object made of it.
SQL_TEXT = {"text", "exec_driver_sql", "execute", "executemany", "literal_column", "copy", "prefix_with", "suffix_with"}

MADE_OF_OUR_OWN_WORDS = {
    "monitor/ledger/migrations/versions/v0012_evidence.py",
}
"""Migrations choose between two dialects' words for the same hour."""


def _calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def _name(node: ast.expr) -> tuple[str, str]:
    """Owner and name of what is called; no owner for a plain name."""
    if isinstance(node, ast.Attribute):
        return (node.value.id if isinstance(node.value, ast.Name) else "?"), node.attr
    return "", node.id if isinstance(node, ast.Name) else "?"


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id.isupper()


def _is_text_made_up(node: ast.expr) -> bool:
    """Whether *node* is text put together from parts: an f-string, a sum, a quotient of text, or a `format`."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) and not _is_constant(part.value) for part in node.values)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod) and any(
            isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
            for side in (node.left, node.right)
        )
    if isinstance(node, ast.IfExp):
        return _is_text_made_up(node.body) or _is_text_made_up(node.orelse)
    return isinstance(node, ast.Call) and _name(node.func)[1] in {"format", "join", "replace"}


def _problems(path: Path) -> Iterator[str]:
    where = path.relative_to(ROOT)
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (f"{where}: imports {name}" for name in names if name.partition(".")[0] in FORBIDDEN_MODULES)
    for call in _calls(path):
        yield from (f"{where}:{call.lineno}: {what}" for what in _trespasses(call))


def _trespasses(call: ast.Call) -> Iterator[str]:
    owner, name = _name(call.func)
    if (not owner and name in FORBIDDEN_CALLS) or (owner, name) in FORBIDDEN_METHODS:
        yield f"calls {owner}.{name}"
    if any(keyword.arg == "shell" for keyword in call.keywords):
        yield "says something of a shell"
    if name in SQL_TEXT and call.args and _is_text_made_up(call.args[0]):
        yield "makes SQL out of text"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_what_it_reads(path: Path) -> None:
    """No pickle and its like, no code from text, no shell, no unsafe YAML, and SQL through bound parameters alone."""
    problems = list(_problems(path))

    if str(path.relative_to(ROOT)) in MADE_OF_OUR_OWN_WORDS:
        assert 1 == len(problems)
    else:
        assert [] == problems


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from shelve import open",
        "eval(text)",
        "yaml.load(text)",
        "subprocess.run(line, shell=True)",
        'connection.execute(f"DELETE FROM {name}")',
        'connection.execute(sa.text("SELECT " + name))',
        'connection.exec_driver_sql("SELECT %s" % name)',
        'cursor.execute("SELECT {}".format(name))',
        'connection.execute("a" if yes else f"b {name}")',
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of trespass, planted in a module, is found."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    planted = tmp_path / "planted.py"
    planted.write_text(f"{source}\n")

    assert 1 == len(list(_problems(planted)))


@pytest.mark.slow
def test_every_template_escapes() -> None:
    """Every environment of Jinja escapes HTML, and no template switches that off."""
    environments = [
        call
        for path in MODULES
        for call in _calls(path)
        if _name(call.func)[1] in {"Environment", "SandboxedEnvironment"}
    ]
    escaping = [
        ast.unparse(keyword.value) for call in environments for keyword in call.keywords if keyword.arg == "autoescape"
    ]
    templates = [path.read_text() for path in (ROOT / "monitor").rglob("templates/*") if path.is_file()]

    assert len(environments) == len(escaping)
    # By the name of a template: HTML is escaped, and what Markdown shows of a file goes through a filter of its own.
    assert {"True", "select_autoescape()"} >= set(escaping)
    assert templates
    assert [] == [text for text in templates if "|safe" in text.replace(" ", "") or "autoescape false" in text]
