"""Limits that several kinds share: of channels, batches and positions."""

from __future__ import annotations

from torch import Tensor, nn

from awb.errors import AWBError


def hidden_width(channels: int, reduction: int, smallest: int = 1) -> int:
    """Width of a bottleneck: channels // reduction, and no less than the smallest.

    Raises:
        AWBError: The reduction is not a positive int.
    """
    require_positive("reduction", reduction)
    return max(smallest, channels // reduction)


def require_positive(name: str, value: int) -> None:
    """Refuse an option that is not a positive int.

    Raises:
        AWBError: It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AWBError(f"{name}={value!r}: expected a positive int")


def require_odd(name: str, size: int, so_that: str) -> None:
    """Refuse a kernel size that is not odd.

    Args:
        name: The option.
        size: Its value.
        so_that: What an odd size is for, `the map keeps its size`, for the error.

    Raises:
        AWBError: It is even, or not a positive int.
    """
    if not isinstance(size, int) or size < 1 or size % 2 == 0:
        raise AWBError(f"{name}={size!r}: expected an odd number, so that {so_that}")


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse an option that is none of the choices.

    Raises:
        AWBError: It is none; the error lists them.
    """
    if value not in choices:
        listed = " or ".join(map(repr, choices)) if len(choices) == 2 else f"one of {', '.join(map(repr, choices))}"
        raise AWBError(f"{name}={value!r}: expected {listed}")


def require_multiple(channels: int, multiple: int, what: str) -> None:
    """Refuse channels that cannot be split.

    Args:
        channels: Number of channels.
        multiple: The number that must divide them.
        what: What splits them, `ema with groups=32`, for the error.

    Raises:
        AWBError: `multiple` is not a positive int, or does not divide them; the error names the nearest numbers
            that can be had.
    """
    if not isinstance(multiple, int) or multiple < 1:
        raise AWBError(f"{what}: expected a positive int")
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
