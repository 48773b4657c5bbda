"""Widths and checks of channels that several kinds share."""

from __future__ import annotations

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
