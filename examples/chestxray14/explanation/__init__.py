"""Explain networks by maps of where they looked, drawn over images and measured against boxes."""
