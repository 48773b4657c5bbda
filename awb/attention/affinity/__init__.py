"""Kinds in which positions, or channels, take shares of each other."""
