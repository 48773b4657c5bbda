"""Kinds that gate positions, or channels and positions together."""

from awb.attention.spatial import bam, cbam, coord, ela, gam, mca, scse, sge, shuffle, simam, triplet

__all__ = ["bam", "cbam", "coord", "ela", "gam", "mca", "scse", "sge", "shuffle", "simam", "triplet"]
