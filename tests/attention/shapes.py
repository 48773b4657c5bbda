"""Shapes that the kinds take, and a network with one block of a kind."""

from __future__ import annotations

import torch
from torch import nn

import awb


def some_channels(kind: str, least: int = 48) -> int:
    """The least number of channels that a kind takes, from this on."""
    multiple = awb.attention_info(kind).channel_multiple
    return -(-least // multiple) * multiple


def attached(kind: str, channels: int, height: int, width: int) -> tuple[nn.Module, awb.AWB]:
    """A 1×1 convolution with a block of the kind after it, and the block, for maps of these sides."""
    model = nn.Sequential(nn.Conv2d(channels, channels, 1))
    example = torch.zeros(1, channels, height, width)
    awb.attach_awb(model, "0", attention=kind, example_input=example)
    (block,) = awb.awb_blocks(model).values()
    return model, block
