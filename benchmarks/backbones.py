"""What do blocks cost in a whole network?

    python -m benchmarks.backbones                       # DenseNet121, 4 images; VGG16-BN, 1 image
    python -m benchmarks.backbones --threads 2

DenseNet121 and VGG16-BN with blocks after all their stages: LKA by PyTorch's convolutions, LKA by phases, and timm's
CBAM, SE and ECA in the same places. Inference and training step over the plain network, in both layouts: pairs
alternate in one process; medians and extremes of their ratios. Peak memory of a first training step over the
plain network's, and multiply–accumulates counted by fvcore.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

import awb
from benchmarks.environment import environment
from benchmarks.memory import peak_allocated_mb
from benchmarks.networks import build_network
from benchmarks.timing import forward, keep_freed_memory, paired_ratios, training_step

BATCHES = {"densenet121": 4, "vgg16_bn": 1}
KINDS: dict[str, dict[str, Any]] = {
    "LKA, stock": {"attention": "lka", "backend": "stock"},
    "LKA, phases": {"attention": "lka", "backend": "auto"},
    "timm_cbam": {"attention": "timm_cbam"},
    "timm_se": {"attention": "timm_se"},
    "timm_eca": {"attention": "timm_eca"},
}
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", choices=BATCHES, nargs="+", default=list(BATCHES))
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args(argv)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    rows = [
        row
        for network in args.networks
        for layout in LAYOUTS
        for row in measure(network, layout, args.kinds, args.pairs)
    ]
    headers = ("network", "layout", "blocks", "inference", "range", "training step", "range ", "peak memory", "MACs")
    print(awb.Table(headers, tuple(rows)))
    print(f"{args.threads} threads; {torch.backends.cpu.get_cpu_capability()}; {environment('torch', 'timm')}")
    return 0


def build(network: str, kind: str | None, layout: str) -> nn.Module:
    """Build a network with 14 classes, plain or with blocks after all its stages."""
    return build_network(network, None if kind is None else KINDS[kind]).to(memory_format=LAYOUTS[layout])


def measure(network: str, layout: str, kinds: Sequence[str], pairs: int) -> list[tuple[Any, ...]]:
    """One row per attention type, relative to the plain network."""
    images = torch.randn(BATCHES[network], 3, 224, 224).contiguous(memory_format=LAYOUTS[layout])
    plain = build(network, None, layout)
    plain_peak = peak_allocated_mb(training_step(build(network, None, layout), images))
    plain_macs = macs(network, None)
    rows = []
    for kind in kinds:
        model = build(network, kind, layout)
        cells: list[str] = []
        for make in (forward, training_step):
            ratios = sorted(paired_ratios(make(model, images), make(plain, images), pairs))
            cells += [f"{statistics.median(ratios):.2f}", f"{ratios[0]:.2f}–{ratios[-1]:.2f}"]
        peak = peak_allocated_mb(training_step(build(network, kind, layout), images)) / plain_peak
        rows.append((network, layout, kind, *cells, f"{peak:.2f}", f"{macs(network, kind) / plain_macs:.2f}"))
    return rows


def macs(network: str, kind: str | None) -> int:
    """Multiply–accumulates for one image."""
    options = dict(KINDS[kind]) if kind else {}
    placement = "all" if kind else None
    table = awb.profile_placements(lambda: build(network, None, "NCHW"), [placement], **options)
    return int(next(iter(table))["MACs"])


if __name__ == "__main__":
    sys.exit(main())
