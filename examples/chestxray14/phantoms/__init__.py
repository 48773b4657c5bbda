"""Synthetic chest images with 14 findings and their boxes. No result from them has any medical meaning."""

from examples.chestxray14.phantoms.phantoms import Phantoms, draw_phantoms

__all__ = ["Phantoms", "draw_phantoms"]
