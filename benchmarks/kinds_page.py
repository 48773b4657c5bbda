"""A hook of mkdocs (see mkdocs.yml): the table, pictures and references on docs/kinds.md, made when pages are built."""

from __future__ import annotations

import random
from typing import Any

import awb
from awb import AttentionInfo
from awb.attention.table import kinds_table
from awb.markup import in_markdown

ROWS, COLUMNS, DEPTH, CELL, SLANT = 4, 5, 4, 7, 4
HEADER = """
| kind | gates | identity | grows with | parameters | C = 256 | map | paper |
|---|---|---|---|---|--:|---|---|
"""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """mkdocs calls this for each page before rendering it: kinds.md gets its table, the others stay as they are."""
    if page.file.src_uri != "kinds.md":
        return markdown
    infos = [awb.attention_info(name) for name in awb.list_attention()]
    return f"{markdown}\n{pictures()}\n{table(infos)}\n{references(infos)}"


def table(infos: list[AttentionInfo]) -> str:
    """One row per kind, those of papers first."""
    counted = {row["attention"]: row["params, C=256"] for row in kinds_table([info.name for info in infos])}
    ordered = sorted(infos, key=lambda info: (info.paper is None, info.name))
    return HEADER + "".join(_line(info, counted[info.name]) for info in ordered)


def references(infos: list[AttentionInfo]) -> str:
    """The papers' BibTeX entries, each once."""
    entries = {info.paper.key: info.paper.bibtex() for info in infos if info.paper}
    return "\n## References\n\n```bibtex\n" + "\n".join(entries[key] for key in sorted(entries)) + "\n```\n"


def pictures() -> str:
    """A picture of each gate with its name and shape."""
    shapes = {
        "channel": "N×C×1×1", "height": "N×C×H×1", "width": "N×C×1×W", "spatial": "N×1×H×W", "element": "N×C×H×W",
    }  # fmt: skip
    head = "| " + " | ".join(map(picture, shapes)) + " |\n" + "|:-:" * len(shapes) + "|\n"
    return head + "| " + " | ".join(f"{name}<br>{shape}" for name, shape in shapes.items()) + " |\n"


def picture(gate: str) -> str:
    """A map as a box, C deep, H high and W wide, in which cells with the same factor have the same shade (SVG)."""
    draw = random.Random(gate)
    shades = {
        (c, h, w): draw.uniform(0.1, 0.9) for c in range(DEPTH) for h in range(ROWS) for w in range(COLUMNS)
    }  # fmt: skip

    def shade(c: int, h: int, w: int) -> float:
        alike = {
            "channel": (c, 0, 0), "height": (c, h, 0), "width": (c, 0, w), "spatial": (0, h, w), "element": (c, h, w),
        }  # fmt: skip
        return shades[alike[gate]]

    width, height = COLUMNS * CELL + DEPTH * SLANT, ROWS * CELL + DEPTH * SLANT
    cells = [_cell([(w * CELL, y), (w * CELL + CELL, y), (w * CELL + CELL, y + CELL), (w * CELL, y + CELL)],
                   shade(0, h, w))
             for h in range(ROWS) for w in range(COLUMNS) for y in (DEPTH * SLANT + h * CELL,)]  # fmt: skip
    for c in range(DEPTH):
        near, far = c * SLANT, (c + 1) * SLANT
        bottom = DEPTH * SLANT
        cells += [_cell([(w * CELL + near, bottom - near), (w * CELL + CELL + near, bottom - near),
                         (w * CELL + CELL + far, bottom - far), (w * CELL + far, bottom - far)], shade(c, 0, w))
                  for w in range(COLUMNS)]  # fmt: skip
        right = COLUMNS * CELL
        cells += [_cell([(right + near, bottom + h * CELL - near), (right + far, bottom + h * CELL - far),
                         (right + far, bottom + h * CELL + CELL - far),
                         (right + near, bottom + h * CELL + CELL - near)], shade(c, h, COLUMNS - 1))
                  for h in range(ROWS)]  # fmt: skip
    style = f'width="{width}" height="{height}" viewBox="-1 -1 {width + 2} {height + 2}"'
    return (
        f'<svg role="img" aria-label="{gate}" {style} stroke="currentColor" stroke-width="0.5">{"".join(cells)}</svg>'
    )


def _cell(corners: list[tuple[int, int]], shade: float) -> str:
    points = " ".join(f"{x},{y}" for x, y in corners)
    return f'<polygon points="{points}" fill="#3f51b5" fill-opacity="{shade:.2f}"/>'


def _line(info: AttentionInfo, parameters: int | None) -> str:
    paper = info.paper
    link = f"[{paper.year}]({paper.url})" if paper and paper.url else str(paper.year) if paper else "timm"
    cells = (
        f"`{info.name}`", "<br>".join(f"{picture(gate)} {gate}" for gate in info.gates) or "+ adds or replaces",
        info.identity, in_markdown(info.complexity), f"`{info.parameters}`" if info.parameters else "",
        "–" if parameters is None else f"{parameters:,}", "yes" if info.has_map else "no",
        f"{in_markdown(info.title)}, {link}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"
