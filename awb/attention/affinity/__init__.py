"""Kinds in which positions, or channels, take shares of each other."""

__all__: list[str] = []
