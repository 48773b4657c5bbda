"""Which GPU each of several processes on a machine uses."""

from __future__ import annotations

import os
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def device_of_slot(slot: int, devices: Sequence[str]) -> str:
    """One of the devices, each as often as any other.

    Args:
        slot: From 0.
        devices: At least one.
    """
    return devices[slot % len(devices)]


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` would name them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]  # this asks the driver, and starts nothing
