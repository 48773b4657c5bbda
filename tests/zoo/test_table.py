"""The documentation's table says what the coverage file does, and so do the pages that quote it."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

from benchmarks.zoo_coverage import read
from benchmarks.zoo_table import CSV, on_page_markdown, table

ROOT = Path(__file__).parents[2]


def built(name: str) -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=name))
    return on_page_markdown((ROOT / "docs" / name).read_text(), page=page, config=None, files=None)


def test_page_is_made_from_the_file() -> None:
    lines = [line for line in built("zoo.md").splitlines() if line.startswith(("| timm:", "| torchvision:"))]
    cells = {cell[0]: cell[1:] for cell in ([part.strip() for part in line.split(" | ")] for line in lines)}
    rows = read()
    assert {name.removeprefix("| ") for name in cells} == set(rows)
    for name, row in rows.items():
        *shown, result = cells[f"| {name}"]
        size = f"{row.parameters / 1e6:,.1f}"
        assert shown == [row.file, size, str(row.stages), str(row.live), row.input_size, row.tensors]
        assert result.startswith(row.status)


def test_other_pages_stay_as_they_are() -> None:
    assert built("index.md") == (ROOT / "docs" / "index.md").read_text()


def test_what_does_not_work_comes_first_with_its_reason() -> None:
    with CSV.open(newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(3), strict=False)]
    rows[2] |= {"status": "refused", "detail": "a | b"}
    lines = table(rows).splitlines()
    assert lines[0].endswith("2 work (0 checked with real tensors, 2 on meta tensors), 1 are refused, 0 fail.")
    assert lines[4].startswith(f"| timm:{rows[2]['architecture']} |")
    assert lines[4].endswith("| refused: a \\| b |")


def test_the_pages_quote_its_totals() -> None:
    names = read()
    timm, torchvision = (sum(name.startswith(prefix) for name in names) for prefix in ("timm:", "torchvision:"))
    assert f"Totals of timm 1.0.31 and torchvision 0.29.1: {timm:,} and {torchvision}." in built("zoo.md")
    assert f"all {len(names):,} of torchvision and timm" in (ROOT / "README.md").read_text()
