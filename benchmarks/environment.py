"""Date, machine and versions, printed beside each measurement."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform

import torch


def environment(*packages: str) -> str:
    """Date, machine and package versions in one line."""
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    machine = f"{os.cpu_count()} {platform.machine()} cores, {gpu}"
    return f"{datetime.date.today()}; {machine}; Python {platform.python_version()}, {versions}"
