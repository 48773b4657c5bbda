"""Cross-entropy of ordinary classification: exactly one class per image, a softmax over the classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from awb.errors import AWBError
from awb.study.losses import MultiLabelLoss


class CrossEntropyLoss(MultiLabelLoss):
    """Mean cross-entropy over the images whose class is known, for targets with one 1 per image (one-hot).

    Averaged over processes as `MultiLabelLoss` is. An image with a NaN among its targets does not count.

    Args:
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1), as in
            `torch.nn.CrossEntropyLoss`.

    Raises:
        AWBError: `label_smoothing` is out of range.

    Examples:
        >>> import torch
        >>> from awb.study import CrossEntropyLoss
        >>> loss = CrossEntropyLoss()(torch.zeros(2, 4), torch.eye(4)[:2])
        >>> round(loss.item(), 4)
        1.3863
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise AWBError(f"label_smoothing={label_smoothing!r}: expected a share from 0 up to, not including, 1")
        self.label_smoothing = float(label_smoothing)

    def total(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """This process's sum of losses and its number of images with a known class (int64), both scalars.

        Args:
            logits: Scores before the softmax, float (N, C).
            targets: One 1 per row and else 0, or NaN where the class is not known, (N, C), of any dtype.

        Raises:
            AWBError: Shapes disagree or are not (N, C), logits are not floats, or a known row is not one-hot.
        """
        _check(logits, targets)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        known = ~torch.isnan(targets).any(dim=1)
        losses = F.cross_entropy(
            logits[known].to(dtype), targets[known].argmax(dim=1),
            label_smoothing=self.label_smoothing, reduction="sum",
        )  # fmt: skip
        return losses, known.sum()

    def extra_repr(self) -> str:
        return f"label_smoothing={self.label_smoothing:g}" if self.label_smoothing else ""


def _check(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 2 or logits.shape != targets.shape or not logits.is_floating_point():
        raise AWBError(
            f"logits {logits.dtype} {tuple(logits.shape)}, targets {tuple(targets.shape)}; expected floats (N, C), both"
        )
    known = targets[~torch.isnan(targets).any(dim=1)]
    if not (((known == 0) | (known == 1)).all() and (known.sum(dim=1) == 1).all()):
        raise AWBError("targets are not one-hot: expected one 1 per image and else 0, or NaN for an unknown class")
