"""Twins: which kind with which options computes what a golden file holds, and where its weights go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

ROUNDING = 1e-10


@dataclass(frozen=True)
class Twin:
    """Our kind with the options at which it computes what the code behind a golden file does.

    Attributes:
        kind: Name of the kind.
        options: Its options.
        keys: For each floating-point entry of our state dict the official one whose role it has, or several that are
            joined along the first axis; empty: the entries have the same roles in the same order.
        changes: Change of layout of an official entry, by its key.
        fixed: Entries of our state dict that are not filled.
        tolerance: Largest difference that counts as equal.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    changes: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    tolerance: float = ROUNDING
