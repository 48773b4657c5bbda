"""Limits that several kinds share: of channels, batches and positions."""

from __future__ import annotations

from torch import Tensor, nn

from awb.errors import AWBError


def hidden_width(channels: int, reduction: int) -> int:
    """Width of a bottleneck, channels // reduction and at least 1.

    Raises:
        AWBError: The reduction is not positive.
    """
    if reduction < 1:
        raise AWBError(f"reduction={reduction}: expected a positive int")
    return max(1, channels // reduction)


def require_multiple(channels: int, multiple: int, what: str) -> None:
    """Refuse channels that cannot be split.

    Args:
        channels: Number of channels.
        multiple: The number that must divide them.
        what: What splits them, `ema with groups=32`, for the error.

    Raises:
        AWBError: `multiple` does not divide them; the error names the nearest numbers that can be had.
    """
    if channels % multiple:
        below = channels - channels % multiple
        near = f"{below} or {below + multiple}" if below else str(multiple)
        raise AWBError(f"channels={channels}: {what} needs a multiple of {multiple}; the nearest is {near}")


def require_batch(module: nn.Module, x: Tensor, kind: str) -> None:
    """Refuse a batch of one in train mode, for kinds with batch norm over one value per channel and image.

    Raises:
        AWBError: The module trains, and the batch has one image.
    """
    if module.training and x.shape[0] == 1:
        raise AWBError(
            f"{kind} cannot train at batch size 1, since its batch norm sees one value per channel and image; "
            "take a batch of at least 2, drop the last incomplete batch, or keep the block in eval mode"
        )


def require_position(x: Tensor, row: int, column: int) -> None:
    """Refuse a query position outside of the map.

    Raises:
        AWBError: The row or the column is not in the map.
    """
    height, width = x.shape[2:]
    if not (0 <= row < height and 0 <= column < width):
        raise AWBError(
            f"query position ({row}, {column}): the map has rows 0 to {height - 1}, columns 0 to {width - 1}"
        )
