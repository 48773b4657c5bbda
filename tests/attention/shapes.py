"""Shapes that the kinds take."""

from __future__ import annotations

import awb


def some_channels(kind: str, least: int = 48) -> int:
    """The least number of channels that a kind takes, from this on."""
    multiple = awb.attention_info(kind).channel_multiple
    return -(-least // multiple) * multiple
