"""What is known of the attention kinds, as tables."""

from __future__ import annotations

from awb.attention.info import AttentionInfo
from awb.attention.registry import attention_info, parameters_if_built
from awb.table import Table

_STARTS = {
    "exact": "as published",
    "setting": "by values of its own parameters",
    "gamma": "by a scale γ of awb's: y = x + γ·(f(x) − x)",
}


def kinds_table(names: list[str], channels: int = 256) -> Table:
    """One row per kind: its paper, what it gates, how it starts as the identity, its parameters at some channels."""
    rows = []
    for info in map(attention_info, names):
        paper = info.paper
        rows.append((
            info.name, paper and str(paper.year), paper and (paper.arxiv or paper.doi), _gates(info), info.identity,
            info.complexity, parameters_if_built(info.name, channels), info.has_map,
        ))  # fmt: skip
    headers = ("attention", "year", "arXiv or DOI", "gates", "identity", "grows with", f"params, C={channels}", "map")
    note = f"{len(names)} kinds; `awb attention NAME` prints all that is known of one"
    return Table(headers, tuple(rows), (note,))


def facts_table(name: str, channels: int = 256) -> Table:
    """All that is known of one kind; the notes are its paper's BibTeX entry.

    Raises:
        AWBError: As `attention_info`.
    """
    info = attention_info(name)
    facts = {
        "name": info.name,
        "title": info.title,
        "paper": info.paper and f"{info.paper.title}, {info.paper.year}",
        "address": info.paper and info.paper.url,
        "gates": _gates(info),
        "parameters": info.parameters or None,
        f"parameters, C={channels}": parameters_if_built(info.name, channels),
        "grows with": info.complexity,
        "identity": f"{info.identity}: {_STARTS[info.identity]}",
        "map": info.has_map,
        "channels": f"a multiple of {info.channel_multiple}" if info.channel_multiple > 1 else "any",
        "smallest channels": info.min_channels,
        "smallest map": f"{info.min_map}×{info.min_map}",
        "trains at batch size 1": info.batch_of_one,
        "in float32": info.half or None,
        "held against": info.source or None,
        "notes": info.notes or None,
    }
    entry = info.paper.bibtex().splitlines() if info.paper else []
    return Table(("fact", info.name), tuple((fact, value) for fact, value in facts.items() if value is not None),
                 tuple(entry))  # fmt: skip


def _gates(info: AttentionInfo) -> str:
    return ", ".join(info.gates) or "adds or replaces"
