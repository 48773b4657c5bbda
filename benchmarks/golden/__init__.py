"""Attention kinds held against what the official code computes: values, gradients and counts on a recipe."""
