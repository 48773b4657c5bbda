"""Kinds that gate every element by what a large convolution sees around it."""
