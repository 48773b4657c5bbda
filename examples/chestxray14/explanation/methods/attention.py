"""Attention maps of a network's blocks. They are the same for every finding: a block attends before the classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import awb
from awb import AWBError

_NO_PLACES = {"channel"}  # gates of kinds whose map is the same at all positions: `se`, `eca`


def has_attention_maps(model: nn.Module) -> bool:
    """True if a block of the network has an attention map that says something about positions."""
    return any(
        hasattr(block.attention, "attention_map")
        and set(awb.attention_info(block.planned.attention).gates) != _NO_PLACES
        for block in awb.awb_blocks(model).values()
    )


@torch.no_grad()
def attention_change(model: nn.Module, images: Tensor) -> dict[int | str, Tensor]:
    """Distance of each block's attention A from 1 (no effect): the mean of |A − 1| over the channels.

    Args:
        model: Network in eval mode, with a block for which `has_attention_maps` holds.
        images: Inputs, (N, 3, H, W).

    Returns:
        By stage number (or site), maps (N, h, w), 0 or more; all 0 at a block that is the identity. Blocks that treat
        all positions alike are left out.

    Raises:
        AWBError: As in `awb.capture_attention` does, or the model is in training mode.
    """
    if model.training:
        raise AWBError("the model is in training mode, and its batch norms would change the maps: call eval()")
    with awb.capture_attention(model) as maps:
        model(images)
        return {
            key: (attention - 1).abs().mean(dim=1)
            for key, attention in maps.items()
            if set(maps.gates(key)) != _NO_PLACES
        }


def attention_change_at(model: nn.Module, key: int | str, images: Tensor, targets: Tensor) -> Tensor:
    """`attention_change` at one block, with the signature of a method; the targets are ignored."""
    return attention_change(model, images)[key]
