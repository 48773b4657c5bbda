"""Kinds that gate positions, or channels and positions together."""
