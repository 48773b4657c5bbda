"""Kinds that gate every element by what a large convolution sees around it."""

from awb.attention.large_kernel import dlka, lka, lsk, lska, mlka, msca, van

__all__ = ["dlka", "lka", "lsk", "lska", "mlka", "msca", "van"]
