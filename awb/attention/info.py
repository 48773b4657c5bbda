"""Facts about an attention kind: its paper, what it gates, what it costs, and how it starts as the identity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

GateName = Literal["channel", "height", "width", "spatial", "element"]
Identity = Literal["exact", "setting", "gamma"]


@dataclass(frozen=True)
class Paper:
    """The publication that defines a kind.

    Attributes:
        title: The title.
        authors: Authors as BibTeX writes them, `Hu, Jie and Shen, Li and Sun, Gang`.
        venue: Journal, conference or book; empty if there is only a preprint.
        year: Year of publication there.
        arxiv: Number on arXiv, `1709.01507`; None if it is not there.
        doi: Digital object identifier, where there is no arXiv number.
        page: Address of its page, where there is neither.
    """

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None
    doi: str | None = None
    page: str | None = None

    @property
    def url(self) -> str | None:
        """Address of the paper's page."""
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return f"https://doi.org/{self.doi}" if self.doi else self.page

    @property
    def key(self) -> str:
        """BibTeX key: first author's name, year and first long word of the title, `hu2018squeeze`."""
        name = self.authors.split(",")[0]
        word = next((w for w in re.findall(r"[A-Za-z]+", self.title) if len(w) > 3), "paper")
        return re.sub(r"[^a-z0-9]", "", f"{name}{self.year}{word}".lower())

    def bibtex(self) -> str:
        """Entry for a bibliography."""
        fields = {
            "title": f"{{{self.title}}}", "author": self.authors, "booktitle": self.venue, "year": str(self.year),
            "eprint": self.arxiv, "archiveprefix": "arXiv" if self.arxiv else None, "doi": self.doi, "url": self.page,
        }  # fmt: skip
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{'inproceedings' if self.venue else 'misc'}{{{self.key},", *lines, "}"])


@dataclass(frozen=True)
class AttentionInfo:
    """What is known of an attention kind.

    Attributes:
        title: Full name, `Squeeze-and-Excitation`.
        paper: The publication whose definition it follows; None for a kind of your own that names none.
        gates: What multiplies the input, in order: `channel` (N×C×1×1), `height` (N×C×H×1), `width` (N×C×1×W),
            `spatial` (N×1×H×W) or `element` (N×C×H×W); empty for a kind that adds to the input or replaces it.
        parameters: Number of parameters, as a Python expression of the channels C.
        complexity: Growth of its work with the map's height H and width W, as `H·W` or `(H·W)²`.
        identity: How it starts as the identity: `exact`, as published; `setting`, by values of its own parameters;
            `gamma`, by a scale γ of awb's, y = x + γ·(f(x) − x).
        source: The code whose values it was held against, with its licence; empty if there is none.
        channel_multiple: The number that must divide the channels.
        min_channels: Smallest number of channels.
        min_map: Smallest height and width of the map.
        batch_of_one: Whether it trains at batch size 1.
        half: What it computes in float32 under half-precision autocast.
        notes: Differences between paper and official code, and traps.
        name: The name in the registry.
        has_map: Whether `capture_attention` gets a map of it.
    """

    title: str
    paper: Paper | None = None
    gates: tuple[GateName, ...] = ()
    parameters: str = ""
    complexity: str = "H·W"
    identity: Identity = "gamma"
    source: str = ""
    channel_multiple: int = 1
    min_channels: int = 1
    min_map: int = 1
    batch_of_one: bool = True
    half: str = ""
    notes: str = ""
    name: str = ""
    has_map: bool = False
