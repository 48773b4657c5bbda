"""Attention maps of a network's blocks. They are the same for every finding: a block attends before the classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import awb
from awb import AWBError


def has_attention_maps(model: nn.Module) -> bool:
    """True if a network has blocks, all of a kind with attention maps (`lka`, `van`)."""
    blocks = awb.awb_blocks(model).values()
    return bool(blocks) and all(hasattr(block.attention, "attention_map") for block in blocks)


@torch.no_grad()
def attention_change(model: nn.Module, images: Tensor) -> dict[int | str, Tensor]:
    """Distance of each block's attention A from 1 (no effect): the mean of |A − 1| over the channels.

    Args:
        model: Network in eval mode, with blocks of a kind that has maps (`lka`, `van`).
        images: Inputs, (N, 3, H, W).

    Returns:
        By stage number (or site), maps (N, h, w), 0 or more; all 0 at a block that is the identity.

    Raises:
        AWBError: As in `awb.capture_attention` does, or the model is in training mode.
    """
    if model.training:
        raise AWBError("the model is in training mode, and its batch norms would change the maps: call eval()")
    with awb.capture_attention(model) as maps:
        model(images)
        return {key: (attention - 1).abs().mean(dim=1) for key, attention in maps.items()}


def attention_change_at(model: nn.Module, key: int | str, images: Tensor, targets: Tensor) -> Tensor:
    """`attention_change` at one block, with the signature of a method; the targets are ignored."""
    return attention_change(model, images)[key]
