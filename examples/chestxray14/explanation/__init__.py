"""Explain networks: maps of where they looked, drawn over the images and measured against boxes."""
