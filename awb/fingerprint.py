"""Fingerprints of tensors, a few bytes each: they show that one changed, or that two models share weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SAMPLES = 8
_BFLOAT16, _FLOAT16 = 2.0**-8, 2.0**-11  # the largest relative errors of rounding to them
_FLOAT32 = 2.0**-14  # an average of equal weights strays by some last bits; training moves weights further
_SMALLEST = 2.0**-24  # float16's


class Fingerprint(NamedTuple):
    """The fingerprint of a tensor.

    Attributes:
        shape: The tensor's shape.
        dtype: The tensor's dtype.
        checksum: The sum of the tensor's bits, taken as integers of 64 bits, modulo 2⁶⁴.
        samples: Some of the tensor's values, evenly spaced, as little-endian float32.
    """

    shape: tuple[int, ...]
    dtype: str
    checksum: int
    samples: bytes


@torch.no_grad()
def fingerprint(tensor: Tensor) -> Fingerprint | None:
    """Take the fingerprint of a tensor, the same on every device; None if its values cannot be read.

    The tensor is read once, at the speed of memory, and nothing of its size is allocated if it is contiguous.
    """
    if tensor.is_meta:
        return None
    try:
        if hasattr(tensor, "full_tensor"):  # sharded over processes
            tensor = tensor.full_tensor()
        values = tensor.detach().reshape(-1).contiguous()
        return Fingerprint(tuple(tensor.shape), str(tensor.dtype), _checksum(values), _samples(values))
    except (RuntimeError, NotImplementedError, TypeError):  # a subclass that stands for packed values
        return None


def unchanged(before: Fingerprint, now: Fingerprint, frozen: bool) -> bool:
    """True if a tensor has the same values as before, on any device and in any dtype.

    In the same dtype every bit counts; in a frozen tensor, all but the last ones, since averages of equal weights
    (EMA, SWA) stray that far. In another dtype the samples decide.
    """
    if before.shape != now.shape:
        return False
    if before.dtype != now.dtype:
        return same_values(before.samples, now.samples)
    return before.checksum == now.checksum or (frozen and _close(before.samples, now.samples, 2 * _FLOAT32, 0.0))


def same_values(a: bytes, b: bytes) -> bool:
    """True if the samples of two tensors are equal up to the precision of the coarser one.

    The precision is read off the values: weights that were stored in bfloat16 stay rounded in float32.
    """
    sides = [_numbers(side) for side in (a, b)]
    smallest = max(_SMALLEST if _fits_float16(side) else 0.0 for side in sides)
    return _close(a, b, sum(map(_precision, sides)), smallest)


def _close(a: bytes, b: bytes, relative: float, absolute: float) -> bool:
    x, y = _numbers(a), _numbers(b)
    if x.shape != y.shape:
        return False
    with np.errstate(invalid="ignore"):
        near = np.abs(x - y) <= relative * np.maximum(np.abs(x), np.abs(y)) + absolute
    return bool((near | (x == y) | (np.isnan(x) & np.isnan(y))).all())


def _numbers(samples: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(samples, "<f4").astype(np.float64)


def _precision(values: npt.NDArray[np.float64]) -> float:
    bits = values.astype(np.float32).view(np.uint32)
    if not (bits & 0xFFFF).any():
        return _BFLOAT16
    return _FLOAT16 if _fits_float16(values) else _FLOAT32


def _fits_float16(values: npt.NDArray[np.float64]) -> bool:
    with np.errstate(over="ignore"):
        return np.array_equal(values, values.astype(np.float16), equal_nan=True)


def _checksum(values: Tensor) -> int:
    if values.is_complex():
        values = torch.view_as_real(values).reshape(-1)
    step = 8 // values.element_size()
    whole = len(values) // step * step
    words, rest = values[:whole], values[whole:]
    if words.storage_offset() % step:
        words = words.clone()
    padded = torch.zeros(step, dtype=values.dtype, device=values.device)
    padded[: len(rest)] = rest
    total = words.view(torch.int64).sum() + padded.view(torch.int64).sum()
    return int(total)


def _samples(values: Tensor) -> bytes:
    chosen = values[:: max(1, len(values) // SAMPLES)][:SAMPLES]
    array = (chosen.real if chosen.is_complex() else chosen).to("cpu", torch.float32).numpy()
    return array.astype("<f4").tobytes()
