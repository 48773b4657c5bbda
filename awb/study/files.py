"""Text and CSV files: plain or gzipped, read with errors that name the file, and written whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from awb.errors import AWBError
from awb.files import write_whole
from awb.study.names import require_distinct


@contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """Open a text file in UTF-8, or a gzipped one (`.gz`), for reading.

    Raises:
        AWBError: The file does not exist; or, while it is read, it is damaged or not in UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise AWBError(f"no file {path}")
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        # utf-8-sig: spreadsheets put a byte-order mark before the first header
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error, csv.Error) as error:
        raise AWBError(f"{path} is damaged, or not text in UTF-8: {error}") from None


def read_csv(path: str | Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file (or CSV.gz), without white space around the cells.

    Raises:
        AWBError: No such file, no rows, a row of another length, or a header given twice.
    """
    with open_text(path) as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        require_commas(path, header)
        require_distinct(header, f"{path}: column")
        rows = []
        for row in reader:
            if not row:  # a blank line, as at the end of many files
                continue
            if len(row) != len(header):
                raise AWBError(f"{path}, line {reader.line_num}: {len(row)} cells under {len(header)} headers")
            if any("\0" in cell for cell in row):  # numpy would take it for the end of the text
                raise AWBError(f"{path}, line {reader.line_num} holds a NUL character; is the file damaged?")
            rows.append([cell.strip() for cell in row])
    if not rows:
        raise AWBError(f"{path} has no rows; expected a header and one row per image")
    return header, rows


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file (or CSV.gz) that `read_csv` reads back unchanged; an old file stays if writing fails.

    The same rows give the same bytes: UTF-8, lines that end in a line feed, no time stamp in a gzipped file.

    Raises:
        AWBError: A header given twice, no rows, a cell that would be read differently (white space at its ends, a
            NUL character), or a path that cannot be written to.
    """
    require_distinct(header, f"{path}: column")
    lines = [list(header), *map(list, rows)]
    if len(lines) == 1:
        raise AWBError(f"{path}: no rows to write; expected one per image")
    for row, line in enumerate(lines):
        for cell in line:
            if cell != cell.strip() or "\0" in cell:
                where = "header" if row == 0 else f"row {row}"
                raise AWBError(
                    f"{path}, {where}: {cell!r} would be read differently; expected no white space at its ends"
                )
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    data = text.getvalue().encode()
    write_whole(path, gzip.compress(data, mtime=0) if Path(path).suffix == ".gz" else data)


def require_commas(path: str | Path, header: Sequence[str]) -> None:
    """Refuse a file whose columns are separated by something other than commas.

    Args:
        path: The file, for the message.
        header: Its first row, split at commas.

    Raises:
        AWBError: The header is a single cell with another separator in it.
    """
    other = next((sign for sign in ";\t|" if len(header) == 1 and sign in header[0]), None)
    if other is not None:
        raise AWBError(
            f"{path} separates its columns by {other!r}; expected commas (in a spreadsheet: save as CSV UTF-8)"
        )
