"""Comparison of an ONNX file with the PyTorch network that it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from awb import AWBError
from awb.errors import first_line
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.prediction.onnx_network import PixelNetwork

INPUT, OUTPUTS = "pixels", ("logits", "probabilities")
LOGITS_TOLERANCE = 1e-4  # of logits up to 1 in size; of larger ones, times the largest
PROBABILITIES_TOLERANCE = 1e-5
_LARGER_BATCH = 3


class Differences(NamedTuple):
    """Largest absolute differences between ONNX Runtime and PyTorch."""

    logits: float
    probabilities: float


@torch.no_grad()
def compare_with_pytorch(content: bytes, network: PixelNetwork) -> Differences:
    """Run an ONNX file by ONNX Runtime on noise and on phantoms, in batches of one and three images.

    Args:
        content: The file.
        network: The network that it was made from.

    Raises:
        AWBError: ONNX Runtime cannot run it, or differs from PyTorch by more than the tolerances.
    """
    from onnxruntime import InferenceSession

    try:
        session = InferenceSession(content, providers=["CPUExecutionProvider"])
        pairs = [
            (session.run(OUTPUTS, {INPUT: pixels}), network(torch.from_numpy(pixels)))
            for pixels in _trial_batches(network.shape)
        ]
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise AWBError(
            f"ONNX Runtime cannot run the exported network ({first_line(error)}); nothing was written"
        ) from error
    found = Differences(
        *(max(float(np.abs(ours[i] - theirs[i].numpy()).max()) for ours, theirs in pairs) for i in range(len(OUTPUTS)))
    )
    allowed = LOGITS_TOLERANCE * max(1.0, *(float(theirs[0].abs().max()) for _, theirs in pairs))
    if not (found.logits <= allowed and found.probabilities <= PROBABILITIES_TOLERANCE):  # also refuses a NaN
        raise AWBError(
            f"ONNX Runtime differs from PyTorch by {found.logits:.1e} in a logit and {found.probabilities:.1e} in a "
            f"probability; expected at most {allowed:.1e} and {PROBABILITIES_TOLERANCE:.0e}, so nothing was written"
        )
    return found


def _trial_batches(shape: tuple[int, int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    channels, side, _ = shape
    noise = np.random.default_rng(0).integers(0, 256, (_LARGER_BATCH, *shape), dtype=np.uint8)
    phantoms = draw_phantoms(_LARGER_BATCH)
    drawn = np.stack([phantoms.render(row, side) for row in range(_LARGER_BATCH)])
    for images in (noise, drawn[:, None].repeat(channels, axis=1)):
        yield images[:1]
        yield images
