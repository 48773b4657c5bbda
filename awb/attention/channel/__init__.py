"""Kinds that gate channels by what the whole map holds of them."""

from awb.attention.channel import eca, ese, fca, gc, gct, grn, mlca, ms_cam, nam, se, srm

__all__ = ["eca", "ese", "fca", "gc", "gct", "grn", "mlca", "ms_cam", "nam", "se", "srm"]
