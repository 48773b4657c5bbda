"""What does each attention kind cost?

    python -m benchmarks.kinds                           # all kinds, two networks; goes on where it ended
    python -m benchmarks.kinds --kinds lka se --pairs 5  # some of them
    python -m benchmarks.kinds --table --markdown        # what is there, without running anything

Blocks with the kind's own initialisation after the four stages. Time of a forward pass and of a training step over
the plain network's, in turns in one process (medians; on the CPU, or on CUDA where there is one), peak memory of a
training step over the plain network's (CPU), parameters and multiply–accumulates of the blocks, and the signal that a
fresh module lets through, ‖f(x)‖ / ‖x‖ for standard normal maps of the sites' shapes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

import awb
from benchmarks.csv_rows import append_row, read_rows
from benchmarks.environment import environment
from benchmarks.memory import peak_allocated_mb
from benchmarks.networks import build_network
from benchmarks.timing import forward, keep_freed_memory, paired_ratios, training_step

CSV = Path(__file__).with_name("kinds.csv")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Price:
    """A row: a kind in a network. Ratios are over the plain network.

    Attributes:
        network: Name of the network.
        kind: Name of the kind.
        device: Device of the times.
        params: Parameters of the blocks.
        macs: Their multiply–accumulates for one image.
        forward: Time of a forward pass, a ratio.
        step: Time of a training step, a ratio.
        memory: Peak memory of a training step, a ratio.
        fresh_eval: Share of the signal that a fresh module lets through, in eval mode; the mean over the sites.
        fresh_train: The same in train mode.
        refused: The reason, if the kind does not fit; everything else is then 0.
    """

    network: str
    kind: str
    device: str = DEVICE
    params: int = 0
    macs: int = 0
    forward: float = 0.0
    step: float = 0.0
    memory: float = 0.0
    fresh_eval: float = 0.0
    fresh_train: float = 0.0
    refused: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["densenet121", "resnet50"], metavar="NETWORK")
    parser.add_argument("--kinds", nargs="+", default=awb.list_attention(), metavar="KIND")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of runs whose ratios are taken")
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--out", type=Path, default=CSV, help="CSV file that grows row by row")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args(argv)
    if not args.table:
        keep_freed_memory()
        torch.set_num_threads(1)
        done = {(row.network, row.kind, row.device) for row in read_rows(args.out, Price)}
        images = torch.randn(args.batch, 3, args.size, args.size, generator=torch.Generator().manual_seed(0))
        for kind in args.kinds:
            for network in args.networks:
                if (network, kind, DEVICE) not in done:
                    append_row(args.out, price(network, kind, images, args.pairs))
                    print(f"{network} {kind}", file=sys.stderr, flush=True)
    rows = [row for row in read_rows(args.out, Price) if row.network in args.networks and row.kind in args.kinds]
    for network in args.networks:
        result = table([row for row in rows if row.network == network])
        print(f"\n{network}\n\n{result.to_markdown() if args.markdown else result}")
    print(f"\n{environment('torch', 'torchvision', 'timm')}")
    return 0


def price(network: str, kind: str, images: Tensor, pairs: int) -> Price:
    """Measure a kind in a network."""
    try:
        model = build(network, kind, images.shape[-1])
    except awb.AWBError as error:
        return Price(network, kind, refused=str(error))
    blocks = [block.planned for block in awb.awb_blocks(model).values()]
    costs = list(awb.summary(model))
    on_device, plain = model.to(DEVICE), build(network, None, images.shape[-1]).to(DEVICE)
    times = [
        statistics.median(paired_ratios(make(on_device, images.to(DEVICE)), make(plain, images.to(DEVICE)), pairs))
        for make in (forward, training_step)
    ]
    peak = peak_allocated_mb(training_step(build(network, kind, images.shape[-1]), images))
    shapes = [(images.shape[0], block.site.channels, *block.site.grid) for block in blocks]
    fresh = [statistics.mean(passed(kind, shape, train) for shape in shapes) for train in (False, True)]
    return Price(
        network, kind, DEVICE, sum(row["params"] for row in costs), sum(row["MACs"] for row in costs),
        *(round(ratio, 4) for ratio in (*times, peak / plain_peak(network, images), *fresh)),
    )  # fmt: skip


def build(network: str, kind: str | None, size: int) -> nn.Module:
    """Build a network with 14 classes, plain or with blocks after all its stages."""
    options = None if kind is None else {"attention": kind, "init": "default", "input_size": size}
    return build_network(network, options)


@cache
def plain_peak(network: str, images: Tensor) -> float:
    """Peak memory of a training step of the plain network, in MB."""
    return peak_allocated_mb(training_step(build(network, None, images.shape[-1]), images))


@torch.no_grad()
def passed(kind: str, shape: tuple[int, ...], train: bool) -> float:
    """Share of a standard normal map's norm that a fresh module lets through."""
    torch.manual_seed(0)
    x = torch.randn(shape)
    return float(awb.create_attention(kind, shape[1]).train(train)(x).norm() / x.norm())


def table(rows: Sequence[Price]) -> awb.Table:
    """One row per kind; notes say which do not fit, and why."""
    headers = ("kind", "params", "MACs", "forward", "step", "memory", "fresh, eval", "fresh, train")
    shown = tuple(
        (row.kind, row.params, row.macs, *(f"{ratio:.2f}" for ratio in (
            row.forward, row.step, row.memory, row.fresh_eval, row.fresh_train)))
        for row in sorted(rows, key=lambda row: row.kind) if not row.refused
    )  # fmt: skip
    return awb.Table(headers, shown, tuple(f"{row.kind} does not fit: {row.refused}" for row in rows if row.refused))


if __name__ == "__main__":
    raise SystemExit(main())
