"""Base of all losses: a sum and a count of what is known, averaged over all processes."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn

from awb.errors import AWBError


class KnownLabelLoss(nn.Module):
    """Mean loss over what is known; a subclass defines `total`, the sum and the count of one process.

    `MultiLabelLoss` counts known labels, `CrossEntropyLoss` images whose class is known. The mean is over those of
    **all processes** once `torch.distributed` is initialised: each process's loss is its own sum times the number of
    processes over the global count, so that the mean over processes, which is what DistributedDataParallel makes of
    gradients, is the global mean, however unevenly the unknown falls. All processes must then call the loss equally
    often. To report a loss over several batches, or to accumulate gradients exactly, add up what `total` gives, which
    never communicates.
    """

    def total(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """This process's sum of losses, and the number of what is known (int64), both scalars.

        Args:
            logits: Scores, float (N, C).
            targets: Labels, or NaN (unknown), (N, C), of any dtype.
        """
        raise NotImplementedError

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over what is known, a scalar; 0, with gradients of 0, if nothing is.

        Args:
            logits: Scores before the sigmoid or softmax, float (N, C).
            targets: Labels, or NaN (unknown), (N, C), of any dtype.

        Raises:
            AWBError: As in `total`.
        """
        total, count = self.total(logits, targets)
        processes = 1
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(count)
            processes = dist.get_world_size()
        return total * processes / count.clamp(min=1)


def checked_smoothing(label_smoothing: float) -> float:
    """A share of label smoothing.

    Raises:
        AWBError: It is not from 0 up to, not including, 1.
    """
    if not 0 <= label_smoothing < 1:
        raise AWBError(f"label_smoothing={label_smoothing!r}: expected a share from 0 up to, not including, 1")
    return float(label_smoothing)
