"""NIH ChestX-ray14: its labels, its splits, and what they leak."""
