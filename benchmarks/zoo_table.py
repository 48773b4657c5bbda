"""Table of architectures for the documentation, from benchmarks/zoo_coverage.csv.

`python -m benchmarks.zoo_table` writes it into docs/zoo.md.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmarks.zoo_coverage import Row, read

PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
MARK = "<!-- benchmarks.zoo_table writes what follows -->\n"
HEADER = """
| architecture | file | params (M) | stages | live | input | tensors | result |
|---|---|--:|--:|--:|---|---|---|
"""


def main() -> None:
    text, mark, _ = PAGE.read_text().partition(MARK)
    PAGE.write_text(text + mark + table(read()))


def table(rows: dict[str, Row]) -> str:
    """Counts, and one row per architecture, failures first."""
    libraries = Counter(row.library for row in rows.values())
    results = Counter(row.status for row in rows.values())
    tensors = Counter(row.tensors for row in rows.values() if row.status == "works")
    counts = (
        f"Run: {len(rows):,} architectures, {libraries['timm']:,} of timm's in {_files(rows)} files and "
        f"{libraries['torchvision']} of torchvision's. {results['works']:,} work ({tensors['real']:,} checked with "
        f"real tensors, {tensors['meta']:,} on meta tensors), {results['refused']} are refused, "
        f"{results['fails']} fail."
    )
    ordered = sorted(rows.items(), key=lambda item: (item[1].status == "works", item[0]))
    return f"\n{counts}\n{HEADER}" + "".join(_line(name, row) for name, row in ordered)


def _files(rows: dict[str, Row]) -> int:
    return len({row.file for row in rows.values() if row.library == "timm"})


def _line(name: str, row: Row) -> str:
    result = row.status if row.status == "works" else f"{row.status}: {row.detail}".replace("|", "\\|")
    cells = (name, row.file, f"{row.parameters / 1e6:,.1f}", row.stages, row.live, row.input_size, row.tensors, result)
    return "| " + " | ".join(map(str, cells)) + " |\n"


if __name__ == "__main__":
    main()
