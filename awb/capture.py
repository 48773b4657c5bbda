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
from awb.thread_switches import captured_into

Reduce = Literal["mean", "abs_mean", "norm"]


class AttentionMaps(Mapping[int | str, Tensor]):
    """The attention maps of the latest forward pass.

    A key is the stage's number; the site, if the stage has no number or several sites; or the block's path, if several
    blocks run after one site.

    Attributes:
        without: The kind of each block that has no map, by the same keys.
    """

    def __init__(
        self, captured: dict[int | str, list[Tensor]], without: dict[int | str, str], reduce: Reduce | None
    ) -> None:
        self.without = without
        self._captured = captured
        self._reduce = reduce

    def __getitem__(self, key: int | str) -> Tensor:
        if key in self.without:
            raise NoMapError(_mapless(self.without[key], key))
        if key not in self._captured:
            also = f"; blocks without a map: {self.without}" if self.without else ""
            raise NoMapError(f"no block at {key!r}: there are maps at {shortlist(map(repr, self._captured))}{also}")
        captured = self._captured[key]
        if not captured:
            raise AWBError(f"no map at {key!r} yet: run the model inside the context, with its blocks enabled")
        return _reduced(captured[-1], self._reduce)

    def __contains__(self, key: object) -> bool:
        return key in self._captured

    def __iter__(self) -> Iterator[int | str]:
        return iter(self._captured)

    def __len__(self) -> int:
        return len(self._captured)


@contextmanager
def capture_attention(model: nn.Module, reduce: Reduce | None = None) -> Iterator[AttentionMaps]:
    """Capture each block's attention map while the context is open, in this thread.

    Args:
        model: A model with blocks.
        reduce: How to reduce the channels: `"mean"`, `"abs_mean"` or `"norm"` (Euclidean); None keeps them. LKA's map
            is not bounded, and 1 everywhere while the block is the identity.

    Yields:
        A mapping from stage number (or site, or block path, where the number is not unique) to the map of the latest
        forward pass, computed in eval mode and detached: N×C×H×W, or N×H×W when reduced. Its `without` names the
        blocks whose kind has no `attention_map`.

    Raises:
        AWBError: The model has no blocks, or none of their kinds has an `attention_map`.

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
    without = {
        key: block.planned.attention for key, block in blocks.items() if not hasattr(block.attention, "attention_map")
    }
    if len(without) == len(blocks):
        first = next(iter(blocks.values())).planned
        raise AWBError(_mapless(first.attention, first.path))
    require_own_thread(model)
    captured: dict[int | str, list[Tensor]] = {key: [] for key in blocks if key not in without}
    with captured_into({blocks[key].key: maps for key, maps in captured.items()}):
        yield AttentionMaps(captured, without, reduce)


def _by_key(blocks: Mapping[str, AWB]) -> dict[int | str, AWB]:
    """Blocks by stage number, site or path: the first of these that no other block shares."""
    names = {path: (block.planned.stage, str(block.planned.site), path) for path, block in blocks.items()}
    used = Counter(name for all_names in names.values() for name in all_names)
    keys = {path: next(n for n in names[path] if n is not None and used[n] == 1) for path in blocks}
    return {keys[path]: block for path, block in blocks.items()}


def _mapless(kind: str, place: int | str) -> str:
    offer = [name for name in list_attention() if hasattr(find_factory(name), "attention_map")]
    return f"attention {kind!r} at {place} has no attention_map; those that have: {offer}"


def _reduced(attention: Tensor, reduce: Reduce | None) -> Tensor:
    if reduce is None:
        return attention
    if reduce == "norm":
        norm: Tensor = attention.norm(dim=1)
        return norm
    return (attention.abs() if reduce == "abs_mean" else attention).mean(dim=1)
