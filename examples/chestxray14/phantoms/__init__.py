"""Synthetic chest-like phantoms with 14 findings and their boxes. No figure from them has any medical meaning."""

from examples.chestxray14.phantoms.phantoms import Phantoms, draw_phantoms

__all__ = ["Phantoms", "draw_phantoms"]
