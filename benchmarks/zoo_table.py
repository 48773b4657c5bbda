"""A hook of mkdocs (see mkdocs.yml): the table on docs/zoo.md, made from zoo_coverage.csv when the pages are built."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CSV = Path(__file__).parent / "zoo_coverage.csv"
HEADER = """
| architecture | file | params (M) | stages | live | input | tensors | result |
|---|---|--:|--:|--:|---|---|---|
"""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """mkdocs calls this for each page before rendering it: zoo.md gets its table, the others stay as they are."""
    if page.file.src_uri != "zoo.md":
        return markdown
    with CSV.open(newline="") as file:
        return f"{markdown}\n{table(list(csv.DictReader(file)))}"


def table(rows: Sequence[dict[str, str]]) -> str:
    """Counts, then one row per architecture, those that do not work first."""
    libraries = Counter(row["library"] for row in rows)
    files = {row["file"] for row in rows if row["library"] == "timm"}
    results = Counter(row["status"] for row in rows)
    tensors = Counter(row["tensors"] for row in rows if row["status"] == "works")
    counts = (
        f"Run: {len(rows):,} architectures, {libraries['timm']:,} of timm's in {len(files)} files and "
        f"{libraries['torchvision']} of torchvision's. {results['works']:,} work ({tensors['real']:,} checked with "
        f"real tensors, {tensors['meta']:,} on meta tensors), {results['refused']} are refused, "
        f"{results['fails']} fail."
    )
    ordered = sorted(rows, key=lambda row: (row["status"] == "works", _name(row)))
    return f"{counts}\n{HEADER}" + "".join(map(_line, ordered))


def _name(row: dict[str, str]) -> str:
    return f"{row['library']}:{row['architecture']}"


def _line(row: dict[str, str]) -> str:
    works = row["status"] == "works"
    result = "works" if works else f"{row['status']}: {row['detail']}".replace("|", "\\|")
    params = f"{int(row['parameters']) / 1e6:,.1f}"
    cells = (_name(row), row["file"], params, row["stages"], row["live"], row["input_size"], row["tensors"], result)
    return "| " + " | ".join(cells) + " |\n"
