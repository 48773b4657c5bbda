"""Layouts of maps, and conversion between them: NCHW ⇄ NHWC ⇄ tokens.

Attention maps N×C×H×W to the same shape. Backbones also use N×H×W×C (Swin) and N×L×C (ViT), the latter often with
prefix tokens (class, registers, distillation) in front. Which layout a module has is found in `stages/sites.py`.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, cat

from awb.errors import AWBError

Layout = Literal["NCHW", "NHWC", "NLC"]
LAYOUTS: tuple[str, ...] = get_args(Layout)


def to_nchw(
    x: Tensor,
    layout: Layout,
    grid: tuple[int, int],
    num_prefix_tokens: int = 0,
    raster: Tensor | None = None,
) -> Tensor:
    """View a stage's output as an N×C×H×W map.

    Args:
        x: N×C×H×W, N×H×W×C or N×L×C, as `layout` says.
        layout: The layout of `x`.
        grid: Height and width of the token grid; used for `"NLC"` only.
        num_prefix_tokens: Number of tokens in front of the grid, which are not part of the map.
        raster: For each position in raster order, the index of its token; None if tokens come in raster order.

    Raises:
        AWBError: The number of tokens is not `num_prefix_tokens` + H·W.
    """
    if layout == "NCHW":
        return x
    if layout == "NHWC":
        return x.permute(0, 3, 1, 2)
    height, width = grid
    if height * width != x.shape[1] - num_prefix_tokens:
        raise AWBError(
            f"{x.shape[1] - num_prefix_tokens} tokens do not make a {height}×{width} grid: attach with the input_size "
            "that the model runs at, and without token dropping"
        )
    patches = x[:, num_prefix_tokens:]
    if raster is not None:
        patches = patches[:, raster]
    return patches.transpose(1, 2).reshape(x.shape[0], -1, height, width)


def from_nchw(
    y: Tensor, like: Tensor, layout: Layout, num_prefix_tokens: int = 0, order: Tensor | None = None
) -> Tensor:
    """Undo `to_nchw`, taking the prefix tokens from `like`, the tensor that was viewed.

    Args:
        y: N×C×H×W.
        like: The tensor that `to_nchw` was given.
        layout: The layout of `like`.
        num_prefix_tokens: Number of tokens in front of the grid.
        order: The inverse of `to_nchw`'s `raster`.

    Returns:
        A tensor of `like`'s shape and strides: with other strides, a later `view` could fail and sums would be taken
        in another order.
    """
    if layout == "NHWC":
        y = y.permute(0, 2, 3, 1)
    elif layout == "NLC":
        y = y.flatten(2).transpose(1, 2)
        if order is not None:
            y = y[:, order]
        if num_prefix_tokens:
            y = cat([like[:, :num_prefix_tokens], y], dim=1)
    if y.stride() == like.stride() or 0 in like.stride():  # an expanded tensor cannot be written to
        return y
    return like.new_empty_strided(like.shape, like.stride()).copy_(y)
