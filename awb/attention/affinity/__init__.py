"""Kinds in which positions, or channels, take shares of each other."""

from awb.attention.affinity import a2, criss_cross, danet, efficient, external

__all__ = ["a2", "criss_cross", "danet", "efficient", "external"]
