"""Random numbers for running copies of models: noise from fixed seeds, and unchanged global states."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def random_states_kept(device: torch.device) -> Iterator[None]:
    """Restore the global random states afterwards: torch's, Python's and numpy's."""
    python, numpy = random.getstate(), np.random.get_state()
    accelerator = device.type not in ("cpu", "meta")
    devices = [device.index or 0] if accelerator else []
    try:
        with torch.random.fork_rng(devices, device_type=device.type if accelerator else "cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def random_state() -> tuple[Any, ...]:
    """Random states of the CPU; they change when random numbers are drawn."""
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def seed_random(seed: int) -> None:
    """Seed the random states of the CPU; `torch.manual_seed` would reset every CUDA generator."""
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def noise_like(tensor: Tensor, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Random floats of a tensor's shape, or zeros for integers."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
    generator = generator or torch.Generator().manual_seed(0)
    return torch.randn(tensor.shape, generator=generator, dtype=torch.float32, device="cpu").to(device)


def fixed_noise(shape: torch.Size) -> Tensor:
    """Small random values; each row is the previous one shifted by one, so that a huge tensor needs few numbers."""
    if not shape:
        return torch.full((), 0.05, dtype=torch.float32, device="cpu")
    row = shape[1:].numel()
    generator = torch.Generator().manual_seed(shape.numel())
    values = 0.05 * torch.randn(shape[0] + row, generator=generator, dtype=torch.float32, device="cpu")
    return values.as_strided(shape, (1, *torch.empty(shape[1:], device="meta").stride()))
