"""What does attaching cost at run time, compared with the same network with LKA written into its `forward`?

    python -m benchmarks.attach_overhead

1. Forward (eval mode) and training step of an attached DenseNet121 (LKA after all four dense blocks) over the
   hand-written one that `tests/test_reference.py` proves equal. Pairs alternate in one process, and so does the order
   inside a pair; one 224×224 image, since what attaching adds is per call and its share is largest there. Passes if
   the median ratio is at most 1.01, or its bootstrap 95 % interval includes 1.01. As a control, a second copy of the
   hand-written network over the first: how far from 1 that comes out is noise.
2. `import awb` over `import torch`, in a fresh process per repeat. Passes if the median is at most 1.05.
3. `attach_awb` on ResNet-50 in a warm process. Passes if the median is at most 0.5 s.

Times in 1 and 2 are CPU seconds on one thread, so that other load on the machine matters little. Exits with 1 if one
fails.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import torch
import torchvision

import awb
from benchmarks.environment import environment
from benchmarks.timing import forward, interval, paired_ratios, training_step
from tests.reference import densenet121_lka

RUNTIME_LIMIT = 1.01
IMPORT_LIMIT = 1.05
ATTACH_LIMIT = 0.5

_TIME_IMPORTS = """
from time import process_time
start = process_time()
import torch
middle = process_time()
import awb
print((process_time() - start) / (middle - start))
"""


def import_ratios(repeats: int) -> list[float]:
    """Time to import torch and then awb, divided by the time to import torch, in fresh processes."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.run([sys.executable, "-c", _TIME_IMPORTS], check=True, capture_output=True, text=True, env=env)
        for _ in range(repeats + 1)
    ]
    return [float(run.stdout) for run in runs[1:]]  # the first is a warm-up: files cached, bytecode written


def attach_seconds(repeats: int) -> list[float]:
    """Wall-clock seconds of `attach_awb` on fresh ResNet-50s, after one warm-up."""
    seconds = []
    for _ in range(repeats + 1):
        model = torchvision.models.resnet50(weights=None)
        start = time.perf_counter()
        awb.attach_awb(model, [3, 4])
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def measure(forward_pairs: int = 60, step_pairs: int = 40, imports: int = 15, attaches: int = 9) -> awb.Table:
    """Measure import, attaching and run time; return one row per question."""
    torch.manual_seed(0)
    backbone = awb.replace_head(torchvision.models.densenet121(weights=None), 14)
    attached = awb.attach_awb(backbone, "all", init="default")
    by_hand, control = densenet121_lka("all", 14), densenet121_lka("all", 14)
    image = torch.randn(1, 3, 224, 224)

    rows = []
    for name, make, pairs in (("forward", forward, forward_pairs), ("training step", training_step, step_pairs)):
        ratios = paired_ratios(make(attached, image), make(by_hand, image), pairs)
        passes = interval(ratios)[0] <= RUNTIME_LIMIT  # so it does where the median is at most the limit
        rows.append((f"{name}, attached over hand-written", *_answer(ratios), RUNTIME_LIMIT, passes))
        ratios = paired_ratios(make(control, image), make(by_hand, image), pairs)
        rows.append((f"{name}, hand-written over itself", *_answer(ratios), None, None))
    for name, values, limit in (
        ("import awb over import torch", import_ratios(imports), IMPORT_LIMIT),
        ("attach_awb on ResNet-50, s", attach_seconds(attaches), ATTACH_LIMIT),
    ):
        rows.append((name, *_answer(values), limit, statistics.median(values) <= limit))
    return awb.Table(("question", "n", "median", "95 % interval", "limit", "pass"), tuple(rows))


def _answer(values: list[float]) -> tuple[int, str, str]:
    low, high = interval(values)
    return len(values), f"{statistics.median(values):.3f}", f"{low:.3f}–{high:.3f}"


def main() -> int:
    torch.set_num_threads(1)
    table = measure()
    print(table)
    print(environment("torch", "torchvision", "timm"))
    return 1 if any(row["pass"] is False for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
