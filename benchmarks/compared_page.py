"""A hook of mkdocs (see mkdocs.yml): the tables on docs/kinds-compared.md, made from CSV files when pages are built."""

from __future__ import annotations

from typing import Any

import awb
from benchmarks import kinds
from benchmarks.abilities import results
from benchmarks.abilities.tasks import TASKS
from benchmarks.csv_rows import read_rows


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """mkdocs calls this for each page before rendering it: kinds-compared.md gets its tables, the others stay."""
    if page.file.src_uri != "kinds-compared.md":
        return markdown
    return markdown.replace("<!-- abilities -->", abilities()).replace("<!-- prices -->", prices())


def abilities() -> str:
    """The table of kinds and tasks, and the kinds that were not run with all seeds."""
    found = read_rows(results.CSV, results.Result)
    shown = results.table(found, TASKS, results.SEEDS)
    whole = [row for row in shown if all(row[task.name] for task in TASKS)]
    missing = sorted({*awb.list_attention()} - {row["kind"] for row in whole})
    shown = awb.Table(shown.headers, tuple(tuple(row.values()) for row in whole), shown.notes)
    return f"{shown.to_markdown()}\n\nNot run in full yet: {', '.join(f'`{name}`' for name in missing) or 'none'}."


def prices() -> str:
    """The table of prices of each network that was measured."""
    rows = read_rows(kinds.CSV, kinds.Price)
    networks = dict.fromkeys(row.network for row in rows)
    return "\n\n".join(
        f"### {name}\n\n{kinds.table([row for row in rows if row.network == name]).to_markdown()}" for name in networks
    )
