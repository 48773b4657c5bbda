"""How fast is LKA by phases, compared with PyTorch's convolutions?

    python -m benchmarks.lka                                  # the table of docs/performance.md: one thread, float32
    python -m benchmarks.lka --network vgg16_bn --batches 1 8
    python -m benchmarks.lka --threads 2
    python -m benchmarks.lka --dtype bfloat16
    python -m benchmarks.lka --memory                         # peak memory instead of time
    python -m benchmarks.lka --device cuda                    # prints which backend to choose there

First outputs and all gradients are compared with float64. Then the block is timed at each site of a network, in both
layouts, forward and forward + backward: pairs alternate in one process; medians and extremes of their ratios.
The floor is what the arithmetic must cost: multiply–accumulates over the measured rate of a matrix product, plus the
maps that must be read and written over the measured rate of a copy. Exits with 1 if a site is slower than stock.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import awb
from benchmarks.environment import environment
from benchmarks.memory import peak_allocated_mb
from benchmarks.timing import Run, geometric_mean, gradients, keep_freed_memory, paired_seconds, seconds_of

# channels and side of the maps at the ends of the blocks, 224×224 images
SITES = {
    "densenet121": ((256, 56), (512, 28), (1024, 14), (1024, 7)),
    "vgg16_bn": ((64, 224), (128, 112), (256, 56), (512, 28), (512, 14), (512, 7)),
}
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
DIRECTIONS = ("forward", "forward + backward")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 5e-2}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=SITES, default="densenet121")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--memory", action="store_true", help="peak memory over stock's")
    args = parser.parse_args(argv)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    if args.memory:
        print(memory_table(args.network, args.batches))
        print(environment("torch"))
        return 0
    dtype, sites = getattr(torch, args.dtype), SITES[args.network]
    for channels, side in sites:
        check(channels, min(side, 28), dtype, args.device)
    rates = measure_rates(dtype, args.device)
    table, ratios = time_sites(sites, args.batches, dtype, args.device, args.pairs, rates)
    print(table)
    print(f"\n{means(ratios)}")
    print(f"{args.threads} threads; {args.dtype}; {torch.backends.cpu.get_cpu_capability()}")
    print(f"floor: {rates[0] / 1e9:.0f} GMAC/s, {rates[1] / 1e9:.1f} GB/s; {environment('torch')}")
    slowest = min(min(column) for column in ratios.values())
    if args.device != "cpu":
        print(f"choose {'polyphase' if slowest > 1 else 'stock'} on {args.device}")
    return int(slowest < 1)


def blocks(channels: int, dtype: torch.dtype, device: str) -> tuple[nn.Module, nn.Module]:
    """LKA with each backend, with equal weights."""
    torch.manual_seed(0)
    stock = awb.create_attention("lka", channels, backend="stock")
    ours = awb.create_attention("lka", channels, backend="polyphase")
    ours.load_state_dict(stock.state_dict())
    return stock.to(device, dtype), ours.to(device, dtype)


def maps(batch: int, channels: int, side: int, dtype: torch.dtype, device: str, layout: str) -> tuple[Tensor, Tensor]:
    """Random map, and random gradient of the block's output."""
    torch.manual_seed(0)
    pair = (torch.randn(batch, channels, side, side).to(device, dtype) for _ in range(2))
    x, of_output = (t.contiguous(memory_format=LAYOUTS[layout]) for t in pair)
    return x, of_output


def check(channels: int, side: int, dtype: torch.dtype, device: str) -> None:
    """Raise AssertionError unless outputs and gradients match float64."""
    stock, ours = blocks(channels, dtype, device)
    for layout in LAYOUTS:
        x, of_output = maps(2, channels, side, dtype, device, layout)
        reference = copy.deepcopy(stock).double()
        results = []
        for block, cast in ((reference, torch.float64), (ours, dtype)):
            leaf = x.to(cast).requires_grad_()
            y = block(leaf)
            results.append([y, *torch.autograd.grad(y, (leaf, *block.parameters()), of_output.to(cast))])
        for expected, actual in zip(*results, strict=True):
            error = ((actual.double() - expected).norm() / expected.norm()).item()
            assert error < TOLERANCE[dtype], f"{channels}@{side}, {layout}: relative error {error:.1e}"


def measure_rates(dtype: torch.dtype, device: str) -> tuple[float, float]:
    """Multiply–accumulates per second of a matrix product, and bytes per second of a copy."""
    a, b = (torch.randn(1024, 1024, device=device, dtype=dtype) for _ in range(2))
    source, target = (torch.randn(1 << 24, device=device) for _ in range(2))
    product = min(seconds_of(lambda: a @ b) for _ in range(20))
    moved = min(seconds_of(lambda: target.copy_(source)) for _ in range(20))
    return 1024**3 / product, 2 * source.numel() * 4 / moved


def floor(batch: int, channels: int, side: int, itemsize: int, direction: str, rates: tuple[float, float]) -> float:
    """Lower bound in seconds: the arithmetic, plus reading inputs and writing results."""
    positions = batch * side * side
    macs = positions * channels * (25 + 49 + channels)
    moved = positions * channels * itemsize
    # forward reads x and writes y; backward adds two more products, and moves x and the gradients of both
    products, passes = (1, 2) if direction == "forward" else (3, 5)
    return products * macs / rates[0] + passes * moved / rates[1]


def time_sites(
    sites: Sequence[tuple[int, int]],
    batches: Sequence[int],
    dtype: torch.dtype,
    device: str,
    pairs: int,
    rates: tuple[float, float],
) -> tuple[awb.Table, dict[tuple[str, str], list[float]]]:
    rows = []
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    for batch in batches:
        for channels, side in sites:
            stock, ours = blocks(channels, dtype, device)
            for layout in LAYOUTS:
                x, of_output = maps(batch, channels, side, dtype, device, layout)
                for direction in DIRECTIONS:
                    runs = [_run(block, x, of_output, direction) for block in (stock, ours)]
                    seconds = paired_seconds(runs[0], runs[1], pairs)
                    over = sorted(a / b for a, b in seconds)
                    ratios[direction, layout].append(statistics.median(over))
                    least = floor(batch, channels, side, x.element_size(), direction, rates) * 1000
                    theirs_ms, ours_ms = (1000 * statistics.median(column) for column in zip(*seconds, strict=True))
                    times = (f"{theirs_ms:.3g}", f"{ours_ms:.3g}", f"{statistics.median(over):.2f}")
                    spread = f"{over[0]:.2f}–{over[-1]:.2f}"
                    rows.append(
                        (batch, f"{channels}@{side}", layout, direction, *times, spread, f"{ours_ms / least:.1f}")
                    )
    headers = ("batch", "site", "layout", "direction", "stock, ms", "phases, ms", "faster", "range", "over the floor")
    return awb.Table(headers, tuple(rows)), ratios


def _run(block: nn.Module, x: Tensor, of_output: Tensor, direction: str) -> Run:
    if direction != "forward":
        return gradients(block, x, of_output)

    def run() -> None:
        with torch.no_grad():
            block(x)

    return run


def means(ratios: dict[tuple[str, str], list[float]]) -> awb.Table:
    """Geometric mean and slowest site of each layout and direction."""
    rows = [
        (direction, layout, f"{geometric_mean(ratios[direction, layout]):.2f}", f"{min(ratios[direction, layout]):.2f}")
        for direction in DIRECTIONS
        for layout in LAYOUTS
    ]
    return awb.Table(("direction", "layout", "geometric mean", "slowest site"), tuple(rows))


def memory_table(network: str, batches: Sequence[int]) -> awb.Table:
    """Peak memory of forward + backward above inputs and weights, in multiples of the input map."""
    rows = []
    for batch in batches:
        for channels, side in SITES[network]:
            for layout in LAYOUTS:
                x, of_output = maps(batch, channels, side, torch.float32, "cpu", layout)
                runs = [gradients(block, x, of_output) for block in blocks(channels, torch.float32, "cpu")]
                stock, ours = (peak_allocated_mb(run) / (x.nbytes / 1e6) for run in runs)
                rows.append((batch, f"{channels}@{side}", layout, f"{stock:.1f}", f"{ours:.1f}", f"{ours / stock:.2f}"))
    return awb.Table(("batch", "site", "layout", "stock, maps", "phases, maps", "ratio"), tuple(rows))


if __name__ == "__main__":
    sys.exit(main())
