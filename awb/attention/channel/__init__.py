"""Kinds that gate channels by what the whole map holds of them."""

from awb.attention.channel import gct, se

__all__ = ["gct", "se"]
