"""Capture the attention maps of blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn

from awb.attach import attached_blocks, require_own_thread
from awb.attention.registry import find_factory, list_attention
from awb.block import AWB
from awb.errors import AWBError, NoMapError, shortlist
from awb.thread_switches import Capture, captured_into

Reduce = Literal["mean", "abs_mean", "norm"]


class AttentionMaps(Mapping[int | str, Tensor]):
    """The attention maps of the latest forward pass.

    A key is the stage's number; the site, if the stage has no number or several sites; or the block's path, if several
    blocks run after one site.

    Attributes:
        without: The kind of each block that has no such map, by the same keys.
    """

    def __init__(
        self, captured: dict[int | str, Capture], without: dict[int | str, str], reduce: Reduce | None, offer: str
    ) -> None:
        self.without = without
        self._captured = captured
        self._reduce = reduce
        self._offer = offer

    def __getitem__(self, key: int | str) -> Tensor:
        total = self._find(key).total
        if total is None:
            raise AWBError(f"no map at {key!r} yet: run the model inside the context, with its blocks enabled")
        return _reduced(total, self._reduce)

    def gates(self, key: int | str) -> Mapping[str, Tensor]:
        """The kind's own gates at a key, not reduced, in the order in which they multiply.

        Args:
            key: A key of this mapping.

        Returns:
            `channel` N×C×1×1, `height` N×C×H×1, `width` N×C×1×W, `spatial` N×1×H×W, `element` N×C×H×W; empty for kinds
            of your own that define `attention_map` alone, and before the first pass. Where a block has a scale γ, its
            map is 1 + γ·(product of these − 1).

        Raises:
            NoMapError: There is no block, or no map, at this key.
        """
        return self._find(key).gates

    def _find(self, key: int | str) -> Capture:
        if key in self.without:
            raise NoMapError(_mapless(self.without[key], key, self._offer))
        if key not in self._captured:
            also = f"; blocks without a map: {self.without}" if self.without else ""
            raise NoMapError(f"no block at {key!r}: there are maps at {shortlist(map(repr, self._captured))}{also}")
        return self._captured[key]

    def __contains__(self, key: object) -> bool:
        return key in self._captured

    def __iter__(self) -> Iterator[int | str]:
        return iter(self._captured)

    def __len__(self) -> int:
        return len(self._captured)


@contextmanager
def capture_attention(
    model: nn.Module, reduce: Reduce | None = None, *, query: tuple[int, int] | None = None
) -> Iterator[AttentionMaps]:
    """Capture each block's attention map while the context is open, in this thread.

    Args:
        model: A model with blocks.
        reduce: How to reduce the channels: `"mean"`, `"abs_mean"` or `"norm"` (Euclidean); None keeps them. LKA's map
            is not bounded, and 1 everywhere while the block is the identity.
        query: Row and column of a position of the block's map: kinds in which positions take from each other
            (criss_cross, danet, …) then give the share that it takes from every position, N×1×H×W.

    Yields:
        A mapping from stage number (or site, or block path, where the number is not unique) to the map of the latest
        forward pass, computed in eval mode and detached: what the block multiplies its input by. It is N×C×H×W, with
        sides of 1 where it is the same along an axis, and has no channels when reduced. `maps.gates(key)` has the
        gates that it is made of; `maps.without` names the blocks whose kind has no such map.

    Raises:
        AWBError: The model has no blocks, or none of their kinds has such a map.

    Examples:
        >>> import torch, torchvision, awb
        >>> model = awb.attach_awb(torchvision.models.resnet18(), stages=[3, 4])
        >>> with awb.capture_attention(model, reduce="mean") as maps:
        ...     _ = model(torch.zeros(2, 3, 64, 64))
        >>> maps[4].shape
        torch.Size([2, 2, 2])
    """
    if reduce not in (None, "mean", "abs_mean", "norm"):
        raise AWBError(f"reduce={reduce!r}: expected 'mean', 'abs_mean', 'norm' or None")
    blocks = _by_key(attached_blocks(model))
    if query is not None and not (
        isinstance(query, tuple) and len(query) == 2 and all(isinstance(side, int) for side in query)
    ):
        raise AWBError(f"query={query!r}: expected a row and a column, (row, column)")
    offer = "attention_map" if query is None else "query_map"
    without = {key: block.planned.attention for key, block in blocks.items() if not hasattr(block.attention, offer)}
    if len(without) == len(blocks):
        first = next(iter(blocks.values())).planned
        raise AWBError(_mapless(first.attention, first.path, offer))
    require_own_thread(model)
    captured: dict[int | str, Capture] = {key: Capture(query) for key in blocks if key not in without}
    with captured_into({blocks[key].key: maps for key, maps in captured.items()}):
        yield AttentionMaps(captured, without, reduce, offer)


def _by_key(blocks: Mapping[str, AWB]) -> dict[int | str, AWB]:
    """Blocks by stage number, site or path: the first of these that no other block shares."""
    names = {path: (block.planned.stage, str(block.planned.site), path) for path, block in blocks.items()}
    used = Counter(name for all_names in names.values() for name in all_names)
    keys = {path: next(n for n in names[path] if n is not None and used[n] == 1) for path in blocks}
    return {keys[path]: block for path, block in blocks.items()}


def _mapless(kind: str, place: int | str, offer: str) -> str:
    having = [name for name in list_attention() if hasattr(find_factory(name), offer)]
    other = "attention_map" if offer == "query_map" else "query_map"
    hint = ""
    if hasattr(find_factory(kind), other):
        hint = "; without query= it has one" if offer == "query_map" else "; it has the map of a position, query=(0, 0)"
    return f"attention {kind!r} at {place} has no {offer}{hint}; those that have: {having}"


def _reduced(attention: Tensor, reduce: Reduce | None) -> Tensor:
    if reduce is None:
        return attention
    if reduce == "norm":
        norm: Tensor = attention.norm(dim=1)
        return norm
    return (attention.abs() if reduce == "abs_mean" else attention).mean(dim=1)
