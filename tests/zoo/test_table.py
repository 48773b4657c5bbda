"""The documentation's table says what the coverage file does."""

from __future__ import annotations

from benchmarks.zoo_coverage import read
from benchmarks.zoo_table import MARK, PAGE, table


def test_page_is_made_from_the_file() -> None:
    assert PAGE.read_text().partition(MARK)[2] == table(read()), "run python -m benchmarks.zoo_table"
