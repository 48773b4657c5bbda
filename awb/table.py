"""A small table that prints itself as aligned text or Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from awb.markup import in_line, in_markdown


@dataclass(frozen=True)
class Table:
    """Rows under headers, with notes below.

    Attributes:
        headers: Column names.
        rows: One tuple of values per row, in the order of `headers`.
        notes: Sentences printed under the table.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries."""
        return (dict(zip(self.headers, row, strict=True)) for row in self.rows)

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.headers))]
        right = self._numeric()
        lines = ["  ".join(_pad(c, w, r) for c, w, r in zip(line, widths, right, strict=True)) for line in cells]
        lines.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join([line.rstrip() for line in lines] + [in_line(note) for note in self.notes])

    def with_notes(self, *notes: str) -> Table:
        """The same table with more notes after its own."""
        return replace(self, notes=(*self.notes, *notes))

    def to_markdown(self) -> str:
        """The table as GitHub-flavoured Markdown, with the text of cells and notes escaped."""
        header, *body = ([in_markdown(cell) for cell in line] for line in self._cells())
        rule = ["--:" if right else "---" for right in self._numeric()]
        lines = ["| " + " | ".join(line) + " |" for line in (header, rule, *body)]
        return "\n".join(lines + [f"\n{in_markdown(note)}" for note in self.notes])

    def _cells(self) -> list[list[str]]:
        return [[in_line(_text(v)) for v in row] for row in (self.headers, *self.rows)]

    def _numeric(self) -> list[bool]:
        columns = zip(*self.rows, strict=True) if self.rows else ((None,) for _ in self.headers)
        return [all(isinstance(v, int | float) for v in column if v is not None) for column in columns]


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
