"""Rows of a CSV file as dataclasses: for benchmarks that write row by row, and go on where the file ends."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")
_FROM_TEXT: dict[str, Any] = {
    "str": str, "int": int, "float": float, "float | None": lambda text: float(text) if text else None,
}  # fmt: skip


def header(row_type: type[Any]) -> list[str]:
    """Names of the columns."""
    return [field.name for field in fields(row_type)]


def parse_rows(lines: Iterable[str], row_type: type[Row]) -> list[Row]:
    """Rows of lines without a header; the class has its annotations as text (`from __future__ import annotations`)."""
    convert = {field.name: _FROM_TEXT[str(field.type)] for field in fields(row_type)}  # type: ignore[arg-type]
    cells = csv.DictReader(lines, list(convert))
    return [row_type(**{name: convert[name](text) for name, text in line.items()}) for line in cells]


def read_rows(path: Path, row_type: type[Row]) -> list[Row]:
    """Rows of a file with a header; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        next(file, None)
        return parse_rows(file, row_type)


def append_row(path: Path, row: Any) -> None:
    """Add a row to a file, and the header to a new one."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, header(type(row)), lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(asdict(row))
