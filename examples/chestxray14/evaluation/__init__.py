"""Evaluate finished runs on their test sets, and compare them on the same patients."""
