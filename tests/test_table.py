"""A table's Markdown says what its cells say, whatever is in them."""

from html.parser import HTMLParser

import pytest

from awb.table import Table


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


@pytest.mark.parametrize("text", ["a|b", "<script>x</script>", "0–<18", "p < 0.05", "<module>: x|y", "File <stdin>"])
def test_any_text_is_one_cell_and_no_tag(text: str) -> None:
    markdown = pytest.importorskip("markdown", reason="the Markdown package is not installed")
    cells = Cells()
    cells.feed(markdown.markdown(Table(("name", "text"), (("x", text),)).to_markdown(), extensions=["tables"]))
    assert cells.rows == [["name", "text"], ["x", text]]
    assert cells.tags == {"table", "thead", "tbody", "tr", "th", "td"}


def test_a_text_of_two_lines_stays_in_its_row() -> None:
    assert Table(("a",), (("one\ntwo",),)).to_markdown().splitlines()[-1] == "| one two |"
