"""See the attention maps of the blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn

from awb.attach import attached_blocks, require_own_thread
from awb.attention.registry import find_factory, list_attention
from awb.block import AWB
from awb.context import captured_into
from awb.errors import AWBError

Reduce = Literal["mean", "abs_mean", "norm"]


class AttentionMaps(Mapping[int | str, Tensor]):
    """The maps of the latest forward pass, by stage number (by site where there is none, or several)."""

    def __init__(self, captured: dict[int | str, list[Tensor]], reduce: Reduce | None) -> None:
        self._captured = captured
        self._reduce = reduce

    def __getitem__(self, key: int | str) -> Tensor:
        captured = self._captured[key]
        if not captured:
            raise AWBError(f"no map at {key!r} yet: run the model inside the context, with its blocks enabled")
        return _reduced(captured[-1], self._reduce)

    def __iter__(self) -> Iterator[int | str]:
        return iter(self._captured)

    def __len__(self) -> int:
        return len(self._captured)


@contextmanager
def capture_attention(model: nn.Module, reduce: Reduce | None = None) -> Iterator[AttentionMaps]:
    """Keep each block's attention map while the context is open, in this thread.

    Args:
        model: A model with blocks.
        reduce: Over channels: `"mean"`, `"abs_mean"` or `"norm"` (Euclidean); None keeps them. LKA's map is
            not bounded, and 1 everywhere while the block is the identity.

    Yields:
        A mapping from stage number to the map of the latest forward pass, made in eval mode and detached:
        N×C×H×W, or N×H×W when reduced.

    Raises:
        AWBError: The model has no blocks, or their kind has no `attention_map`.

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
    blocks = attached_blocks(model)
    for path, block in blocks.items():
        if not hasattr(block.attention, "attention_map"):
            offer = [name for name in list_attention() if hasattr(find_factory(name), "attention_map")]
            raise AWBError(
                f"attention {block.planned.attention!r} at {path} has no attention_map; those that have: {offer}"
            )
    require_own_thread(model)
    captured: dict[int | str, list[Tensor]] = {key: [] for key in _keys(blocks)}
    lists = {block.key: maps for block, maps in zip(blocks.values(), captured.values(), strict=True)}
    with captured_into(lists):
        yield AttentionMaps(captured, reduce)


def _keys(blocks: dict[str, AWB]) -> list[int | str]:
    planned = [block.planned for block in blocks.values()]
    numbers = [p.stage for p in planned]
    return [str(p.site) if p.stage is None or numbers.count(p.stage) > 1 else p.stage for p in planned]


def _reduced(attention: Tensor, reduce: Reduce | None) -> Tensor:
    if reduce is None:
        return attention
    if reduce == "norm":
        norm: Tensor = attention.norm(dim=1)
        return norm
    return (attention.abs() if reduce == "abs_mean" else attention).mean(dim=1)
