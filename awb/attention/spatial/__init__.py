"""Kinds that gate positions, or channels and positions together."""

from awb.attention.spatial import cbam

__all__ = ["cbam"]
