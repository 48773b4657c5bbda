"""Kinds that gate every element by what a large convolution sees around it."""

from awb.attention.large_kernel import lka, van

__all__ = ["lka", "van"]
