"""Links lead somewhere, and what checks them would tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.handbook import links, markdown


def test_links_of_the_repository_lead_somewhere() -> None:
    """Every file, heading and picture that a Markdown file names is there, as GitHub shows it."""
    assert [] == list(links.markdown_problems())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("[a](gone.md)", "no such file", id="a file that is gone"),
        pytest.param("[a](other.md#gone)", "no such heading", id="a heading that is gone"),
        pytest.param("[a](#gone)", "no such heading", id="a heading of the page itself"),
        pytest.param("| [a](gone.md) |\n|---|\n", "no such file", id="a link in a table"),
        pytest.param("![](picture.svg)", "a picture without alternative text", id="a picture without words"),
        pytest.param('<img src="gone.png" alt="a">', "no such file", id="a picture as HTML that is gone"),
        pytest.param('b <img src="picture.svg">', "a picture without alternative text", id="one without words"),
        pytest.param("[a](/other.md)", "starts with a slash", id="a link from the root"),
        pytest.param("[a](http://)", "without a host", id="an address without a host"),
        pytest.param("[a](ftp://example.org)", "neither http nor https", id="another protocol"),
    ],
)
def test_a_broken_link_is_reported(text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its page and line."""
    (tmp_path / "other.md").write_text("# Other\n")
    (tmp_path / "picture.svg").write_text("<svg/>")
    (tmp_path / "page.md").write_text(
        f"# Page\n\nSound: [a](other.md#other), [b](https://example.org/x#y).\n\n{text}\n"
    )
    monkeypatch.setattr(markdown, "ROOT", tmp_path)

    (told,) = links.markdown_problems()

    assert told.startswith("page.md:5: ")
    assert problem in told


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        pytest.param('<a href="gone.html">', "no such file", id="a page that is gone"),
        pytest.param('<a href="other.html#gone">', "no such anchor", id="an anchor that is gone"),
        pytest.param('<a href="folder/#gone">', "no such anchor", id="an anchor of a folder's page"),
        pytest.param('<img src="picture.svg">', "a picture without alternative text", id="a picture without words"),
        pytest.param('<script src="https://cdn.example.org/a.js"></script>', "fetched from elsewhere", id="a script"),
        pytest.param('<link href="//fonts.example.org/a.css">', "fetched from elsewhere", id="a font"),
    ],
)
def test_a_broken_link_of_the_site_is_reported(html: str, problem: str, tmp_path: Path) -> None:
    """And what a browser would fetch from elsewhere."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.html").write_text('<h1 id="other">Other</h1>')
    (tmp_path / "folder" / "index.html").write_text('<h1 id="folder">Folder</h1>')
    (tmp_path / "picture.svg").write_text("<svg/>")
    (tmp_path / "page.html").write_text(
        f'<a id="here" href="other.html#other"></a><a href="#here"></a><a href="folder/"></a>'
        f'<a href="https://example.org/">elsewhere</a>{html}'
    )

    (told,) = links.site_problems(tmp_path)

    assert told.startswith("page.html: ")
    assert problem in told


def test_headings_that_come_twice_are_numbered() -> None:
    """As GitHub does."""
    assert {"a-b", "a-b-1", "named"} == markdown.anchors('# A `b`\n\n## A b\n\n<a id="named"></a>\n')
