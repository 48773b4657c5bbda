"""How much training time does glibc's allocator cost?

    python -m benchmarks.allocator

Training steps of DenseNet121 with LKA after all blocks, with glibc's own limits and with MALLOC_TRIM_THRESHOLD_ and
MALLOC_MMAP_THRESHOLD_ raised, in processes that alternate: user and system CPU seconds of a step.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

import awb
from benchmarks.environment import environment
from benchmarks.timing import KEEP_MEMORY

ROUNDS, STEPS = 3, 3


def main() -> int:
    if sys.argv[1:] == ["--steps"]:
        print(*seconds_a_step())
        return 0
    arms: dict[str, list[tuple[float, float]]] = {"glibc's limits": [], "raised": []}
    for _ in range(ROUNDS):
        for arm, measured in arms.items():
            env = {name: value for name, value in os.environ.items() if name not in KEEP_MEMORY}
            env |= KEEP_MEMORY if arm == "raised" else {}
            command = [sys.executable, "-m", "benchmarks.allocator", "--steps"]
            output = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
            user, system = map(float, output.split())
            measured.append((user, system))
    rows = []
    for arm, measured in arms.items():
        user, system = (statistics.median(column) for column in zip(*measured, strict=True))
        rows.append((arm, round(user, 2), round(system, 2), f"{system / (user + system):.0%}"))
    print(awb.Table(("allocator", "user, s a step", "system, s a step", "system share"), tuple(rows)))
    print(environment("torch"))
    return 0


def seconds_a_step() -> tuple[float, float]:
    """User and system CPU seconds of a training step on one thread, after a warm-up step."""
    import torch

    from benchmarks.backbones import build
    from benchmarks.timing import training_step

    torch.set_num_threads(1)
    step = training_step(build("densenet121", "LKA, phases", "NCHW"), torch.randn(4, 3, 224, 224))
    step()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(STEPS):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime - before.ru_utime) / STEPS, (after.ru_stime - before.ru_stime) / STEPS


if __name__ == "__main__":
    sys.exit(main())
