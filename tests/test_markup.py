"""Whatever a name holds, it is text in Markdown and HTML, and a usual name stays as it is."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awb.markup import in_fence, in_html, in_line, in_markdown
from awb.table import Table

HOSTILE = (
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](https://a.b/c.png)", "<img src=x onerror=alert(1)>",
    "a|b", r"a\|b", r"\[x](javascript:a)", "`code`", "**bold**", "_a_", "__b__", "~~s~~", "&lt;b&gt;", "&#60;i>", "# x",
    "x #", "#5 of 6", "- x", "1. x", "> x", "===", "<javascript:alert(1)>", "[x]: javascript:a", "2025.",
    "</td></table><script>",
    "a\n\n<script>b</script>", "a\r\n| --- |", "<!-- x", "<?php", "=cmd()", "\"' onclick='x", "$x$", "\\", "*", "[",
)  # fmt: skip
USUAL = (
    "Pleural_Thickening", "No Finding", "p < 0.05", "0–<18", "R&D", "T2 (early)", "-0.5", "3.5", "x=1", "C#a",
    "Lung Lesion", "a-b", "+1", "5 %", "Infiltration/Edema", "x: y", "a & b",
)  # fmt: skip


class Page(HTMLParser):
    """The tags of a page, their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


Render = Callable[[str], Page]


def python_markdown(text: str) -> Page:
    markdown = pytest.importorskip("markdown", reason="the Markdown package is not installed")
    return Page(markdown.markdown(text, extensions=["tables", "md_in_html", "sane_lists"]))


def github_s(text: str) -> Page:
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py, a CommonMark renderer, is not installed")
    return Page(markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


both = pytest.mark.parametrize("render", [python_markdown, github_s])


def seen(text: str) -> str:
    """What a reader sees of a text: one line, no white space at its ends, one blank for several."""
    return " ".join(in_line(text).split())


anything = st.text(st.characters(exclude_categories=("Cs", "Cn", "Co")), max_size=40) | st.text(
    st.sampled_from("ab1 \\`*_[]()<>#|~&;!=-+.:\n\t/\"'"), max_size=20
)


@both
@pytest.mark.parametrize("text", [*HOSTILE, *USUAL])
def test_a_name_in_a_sentence_is_text(text: str, render: Render) -> None:
    for before, after in (("", ""), ("findings ", ", and others"), ("## ", "")):
        page = render(f"{before}{in_markdown(text)}{after}")
        assert page.tags <= {"p", "h2"}
        assert page.attributes == []
        assert " ".join(page.text.split()) == seen(f"{before.lstrip('# ')}{text}{after}")


@pytest.mark.parametrize("text", USUAL)
def test_a_usual_name_stays_as_it_is_in_the_source(text: str) -> None:
    assert in_markdown(text) == text


@both
@given(text=anything)
@example(text="[x](javascript:alert(1))|<script>")
def test_any_text_is_one_cell(render: Render, text: str) -> None:
    page = render(Table(("name", "text"), (("x", text),), (f"note {text}",)).to_markdown())
    assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert {name for name, _ in page.attributes} <= {"style"}
    assert "".join(page.text.split()) == "".join(f"nametextx{seen(text)}note{seen(text)}".split())


@given(anything)
def test_any_text_is_text_between_tags_and_in_an_attribute(text: str) -> None:
    page = Page(f'<p title="{in_html(text)}">{in_html(text)}</p>')
    assert page.tags == {"p"}
    assert page.attributes == [("title", in_line(text))]
    assert page.text == in_line(text)


def test_nothing_ends_a_fence() -> None:
    lines = in_fence("a\n```\n<b>\n`````").splitlines()
    assert lines[0] == "``````text"
    assert lines[-1] == "``````"


def test_no_cell_of_a_printed_table_moves_the_cursor_or_breaks_a_row() -> None:
    text = str(Table(("a\nb", "c"), (("x\x1b[2J", "\u202ey"), ("z", "\rw")), ("one\ntwo",)))
    assert len(text.splitlines()) == 5
    assert text.replace("\n", "").isprintable()
