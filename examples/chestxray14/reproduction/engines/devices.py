"""Assignment of a machine's GPUs to several processes."""

from __future__ import annotations

import os
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def device_of_slot(slot: int, devices: Sequence[str]) -> str:
    """Device for a slot; slots take the devices in turn.

    Args:
        slot: Number of the slot, from 0.
        devices: Names of the devices, at least one.
    """
    return devices[slot % len(devices)]


def visible_devices() -> list[str]:
    """Names of the GPUs that this process may use, as in `CUDA_VISIBLE_DEVICES`."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]  # this asks the driver, and starts nothing
