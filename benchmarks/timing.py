"""Time alternatives in turns in one process, and give ratios, since machines are noisy."""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Run = Callable[[], object]
# glibc returns large blocks to the system at once and pays for new pages at the next step; high limits prevent it
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(8 << 30), "MALLOC_MMAP_THRESHOLD_": str(8 << 30)}


def keep_freed_memory() -> None:
    """Restart this process with glibc keeping freed memory, so that all alternatives run under the same allocator."""
    if sys.platform == "linux" and any(os.environ.get(name) != value for name, value in KEEP_MEMORY.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **KEEP_MEMORY})


def paired_seconds(ours: Run, theirs: Run, pairs: int) -> list[tuple[float, float]]:
    """Seconds of two runs in turns, with alternating order: CPU seconds on one thread, else wall-clock."""
    for run in (ours, theirs):  # warm-up
        run()
    seconds = []
    for i in range(pairs):
        order = (ours, theirs) if i % 2 else (theirs, ours)
        took = {run: seconds_of(run) for run in order}
        seconds.append((took[ours], took[theirs]))
    return seconds


def paired_ratios(ours: Run, theirs: Run, pairs: int) -> list[float]:
    """Ratios of the time of one run to that of the other, timed in turns."""
    return [a / b for a, b in paired_seconds(ours, theirs, pairs)]


def seconds_of(run: Run) -> float:
    """Seconds of one run: CPU seconds on one thread, where other load matters little; else wall-clock."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    clock = time.process_time if torch.get_num_threads() == 1 and not torch.cuda.is_available() else time.perf_counter
    start = clock()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def interval(values: list[float], resamples: int = 10_000) -> tuple[float, float]:
    """Bootstrap 95 % percentile interval of the median."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(resamples))
    return medians[round(0.025 * resamples)], medians[round(0.975 * resamples) - 1]


def forward(model: nn.Module, images: Tensor) -> Run:
    """Function that runs a forward pass in eval mode."""

    def run() -> None:
        model.eval()
        with torch.inference_mode():
            model(images)

    return run


def training_step(model: nn.Module, images: Tensor) -> Run:
    """Function that runs a training step: SGD on binary cross-entropy."""
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    targets = torch.ones(images.shape[0], 14, device=images.device)

    def run() -> None:
        model.train()
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(model(images), targets).backward()
        optimiser.step()

    return run


def gradients(block: nn.Module, x: Tensor, of_output: Tensor) -> Run:
    """Function that runs forward and backward, with gradients of the input and of all parameters."""
    leaf = x.detach().requires_grad_()

    def run() -> None:
        torch.autograd.grad(block(leaf), (leaf, *block.parameters()), of_output)

    return run


def geometric_mean(values: Iterable[float]) -> float:
    """Geometric mean of ratios."""
    return statistics.geometric_mean(values)
