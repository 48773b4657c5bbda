"""Kinds that gate channels by what the whole map holds of them."""
