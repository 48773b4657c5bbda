"""Peak memory of one run on the CPU, each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable


def peak_growth_mb(run: Callable[[], object]) -> float:
    """By how much a run raises the peak of the process's resident memory, MB; what it loads should be loaded before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6


def in_own_process(module: str, *arguments: str) -> float:
    """The number that `python -m module --peak-of ...` prints."""
    command = [sys.executable, "-m", module, "--peak-of", *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
