"""How fast is ONNX Runtime on a CPU, next to PyTorch?

    python -m benchmarks.onnx_inference                       # one thread, batches of 1 and 8 images
    python -m benchmarks.onnx_inference --threads 2 --batches 1

Networks in eval mode in float32, 224×224 pixels, random weights; LKA after the last two stages. PyTorch runs eagerly
under inference_mode, with awb's own kernels; ONNX Runtime runs what torch.onnx exports. Both run in one process, in
turns with alternating order, on the same images; the largest difference of a logit is printed. A ratio is PyTorch's
time over ONNX Runtime's: above 1, ONNX Runtime is faster. Times are CPU seconds on one thread, where other load matters
little. On more they are by the clock, and need an idle machine: PyTorch's threads wait for each other. Medians, and
quartiles of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import onnxruntime
import timm
import torch
import torchvision
from torch import Tensor, nn

import awb
from benchmarks.environment import environment
from benchmarks.timing import Run, forward, keep_freed_memory, paired_seconds

SIDE, CLASSES = 224, 14
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "DenseNet121": lambda: torchvision.models.densenet121(num_classes=CLASSES),
    "DenseNet121, LKA": lambda: awb.attach_awb(
        torchvision.models.densenet121(num_classes=CLASSES), "last:2", attention="lka", input_size=SIDE
    ),
    "EfficientNet-Lite0": lambda: timm.create_model("tf_efficientnet_lite0", num_classes=CLASSES),
    "ResNet-50": lambda: torchvision.models.resnet50(num_classes=CLASSES),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", choices=NETWORKS, nargs="+", default=list(NETWORKS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--pairs", type=int, default=20)
    args = parser.parse_args(argv)
    keep_freed_memory()
    rows = [row for name in args.networks for row in measure(name, args.threads, args.batches, args.pairs)]
    headers = ("network", "threads", "images", "PyTorch ms", "ONNX Runtime ms", "ratio", "quartiles", "difference")
    print(awb.Table(headers, tuple(rows)))
    print(f"{torch.backends.cpu.get_cpu_capability()}; {environment('torch', 'torchvision', 'timm', 'onnxruntime')}")
    return 0


def measure(name: str, threads: Sequence[int], batches: Sequence[int], pairs: int) -> list[tuple[Any, ...]]:
    """One row per number of threads and images."""
    torch.manual_seed(0)
    model = NETWORKS[name]().eval().requires_grad_(False)
    content = to_onnx(model)
    rows = []
    for count in threads:
        torch.set_num_threads(count)
        session = start_session(content, count)
        for batch in batches:
            images = torch.randn(batch, 3, SIDE, SIDE)
            seconds = paired_seconds(forward(model, images), by_onnx_runtime(session, images), pairs)
            low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in seconds], n=4)
            difference = largest_difference(model, session, images)
            medians = [f"{1000 * statistics.median(column):.1f}" for column in zip(*seconds, strict=True)]
            rows.append((name, count, batch, *medians, f"{middle:.2f}", f"{low:.2f}–{high:.2f}", f"{difference:.0e}"))
            print(*rows[-1], file=sys.stderr, flush=True)
    return rows


def to_onnx(model: nn.Module) -> bytes:
    """The network as an ONNX file, for any number of images."""
    program = torch.onnx.export(
        model, (torch.randn(2, 3, SIDE, SIDE),), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["images"], verbose=False,
    )  # fmt: skip
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def start_session(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # its threads would otherwise wait busily, and take the processor from PyTorch's turn
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def by_onnx_runtime(session: onnxruntime.InferenceSession, images: Tensor) -> Run:
    """Function that runs the session."""
    feed = {"images": images.numpy()}

    def run() -> None:
        session.run(None, feed)

    return run


def largest_difference(model: nn.Module, session: onnxruntime.InferenceSession, images: Tensor) -> float:
    """Between the logits of both."""
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        return float((model(images) - torch.from_numpy(found)).abs().max())


if __name__ == "__main__":
    sys.exit(main())
