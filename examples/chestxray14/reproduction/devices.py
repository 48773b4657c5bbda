"""Which GPU each of several processes on a machine is for."""

from __future__ import annotations

import os
from collections.abc import Sequence

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def use_device_of_slot(slot: int) -> None:
    """Make one of the machine's GPUs the only one of this process, before it uses any.

    Processes of slots 0, 1, … are given the GPUs in turn. GPUs that are hidden already stay hidden; without several,
    nothing changes.

    Args:
        slot: Of this process.
    """
    devices = visible_devices()
    if len(devices) > 1:
        os.environ[_VISIBLE] = device_of_slot(slot, devices)


def device_of_slot(slot: int, devices: Sequence[str]) -> str:
    """One of the devices, each as often as any other.

    Args:
        slot: From 0.
        devices: At least one.
    """
    return devices[slot % len(devices)]


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` would name them."""
    named = os.environ.get(_VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]  # this asks the driver, and starts nothing
