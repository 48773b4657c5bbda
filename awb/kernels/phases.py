"""Split a map into its d² interleaved sub-maps ("phases"), and join them again.

A convolution of dilation d never mixes phases: it is an ordinary one on each of them. As a batch of channels-last
maps they are moved in rows of C numbers, which costs little.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def split_phases(x: Tensor, dilation: int) -> Tensor:
    """Split a map into its phases, as a batch.

    Args:
        x: N×C×H×W, channels-last.
        dilation: The dilation d.

    Returns:
        (N·d²)×C×⌈H/d⌉×⌈W/d⌉, channels-last, with zeros where a phase has fewer positions than the longest.
    """
    if dilation == 1:
        return x
    batch, channels, height, width = x.shape
    rows, columns = (height + dilation - 1) // dilation, (width + dilation - 1) // dilation
    if (rows * dilation, columns * dilation) != (height, width):
        x = F.pad(x, (0, columns * dilation - width, 0, rows * dilation - height))
    split = x.permute(0, 2, 3, 1).reshape(batch, rows, dilation, columns, dilation, channels)
    split = split.permute(0, 2, 4, 1, 3, 5).reshape(-1, rows, columns, channels)
    return split.permute(0, 3, 1, 2)


def join_phases(phases: Tensor, dilation: int, size: tuple[int, int]) -> Tensor:
    """Join phases to a map: undo `split_phases`.

    Args:
        phases: (N·d²)×C×⌈H/d⌉×⌈W/d⌉.
        dilation: The dilation d.
        size: Height and width of the map.

    Returns:
        N×C×H×W with channels-last strides (those of a larger map where d divides H or W not).
    """
    if dilation == 1:
        return phases
    _, channels, rows, columns = phases.shape
    joined = phases.permute(0, 2, 3, 1).reshape(-1, dilation, dilation, rows, columns, channels)
    joined = joined.permute(0, 3, 1, 4, 2, 5).reshape(-1, rows * dilation, columns * dilation, channels)
    return joined[:, : size[0], : size[1]].permute(0, 3, 1, 2)
