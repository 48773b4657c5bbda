"""Kinds in which positions, or channels, take shares of each other."""

from awb.attention.affinity import external

__all__ = ["external"]
