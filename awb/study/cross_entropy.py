"""Cross-entropy of ordinary classification: exactly one class per image, a softmax over the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from awb.errors import AWBError
from awb.study.known_label_loss import KnownLabelLoss, checked_smoothing


class CrossEntropyLoss(KnownLabelLoss):
    """Mean cross-entropy over the images whose class is known, for targets with one 1 per image (one-hot).

    With p the softmax of an image's logits and c its class, the loss of the image is −log p_c: that of
    `torch.nn.CrossEntropyLoss`, also with `label_smoothing`. With `weight` w it is −w_c·log p_c. The sum of losses is
    divided by the number of images; torch divides by the sum of their weights, which changes from batch to batch.

    An image with a NaN among its targets has no known class: it does not count, and its logits get no gradient. Logits
    of float16 and bfloat16 are computed in float32. The mean is over all processes, as in `KnownLabelLoss`.

    Args:
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1).
        weight: Weight of each class, (C,), above 0, as from `class_weights_from_counts`; None weighs all classes 1.

    Raises:
        AWBError: An argument is out of range.

    Examples:
        >>> import torch
        >>> from awb.study import CrossEntropyLoss
        >>> loss = CrossEntropyLoss()(torch.zeros(2, 4), torch.eye(4)[:2])
        >>> round(loss.item(), 4)
        1.3863
    """

    def __init__(self, label_smoothing: float = 0.0, weight: Sequence[float] | Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = checked_smoothing(label_smoothing)
        self.weight = _checked_weight(weight)

    def total(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """This process's sum of losses and its number of images with a known class (int64), both scalars.

        Args:
            logits: Scores before the softmax, float (N, C).
            targets: One 1 per row and else 0, or NaN where the class is not known, (N, C), of any dtype.

        Raises:
            AWBError: Shapes disagree or are not (N, C), logits are not floats, a known row is not one-hot, or the
                weights are of another number of classes.
        """
        known = ~torch.isnan(targets).any(dim=1) if targets.ndim == 2 else torch.zeros(0, dtype=torch.bool)
        _check(logits, targets, known)
        kept = logits[known].to(torch.promote_types(logits.dtype, torch.float32))
        losses = F.cross_entropy(
            kept, targets[known].to(kept.dtype).argmax(dim=1), self._weight_for(kept),
            label_smoothing=self.label_smoothing, reduction="sum",
        )  # fmt: skip
        return losses, known.sum()

    def extra_repr(self) -> str:
        weight = None if self.weight is None else self.weight.tolist()
        shown = {"label_smoothing": self.label_smoothing or None, "weight": weight}
        return ", ".join(f"{name}={value}" for name, value in shown.items() if value is not None)

    def _weight_for(self, logits: Tensor) -> Tensor | None:
        if self.weight is not None and len(self.weight) != logits.shape[1]:
            raise AWBError(f"weight is for {len(self.weight)} classes, logits have {logits.shape[1]}")
        return None if self.weight is None else self.weight.to(logits)


def class_weights_from_counts(counts: npt.ArrayLike) -> Tensor:
    """Weight of each class that gives all classes the same total weight: scikit-learn's `balanced`.

    For `CrossEntropyLoss(weight=…)`. The mean weight of the counted images is 1, so that a learning rate keeps its
    meaning. The probabilities of rare classes come out too high.

    Args:
        counts: Number of images of each class, (C,), in training.

    Returns:
        Σ counts / (C · counts), float64 (C,).

    Raises:
        AWBError: Not one axis, or a class without images.

    Examples:
        >>> from awb.study import class_weights_from_counts
        >>> class_weights_from_counts([80, 10, 10]).round(decimals=2).tolist()
        [0.42, 3.33, 3.33]
    """
    numbers = torch.as_tensor(counts, dtype=torch.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise AWBError(f"counts have shape {tuple(numbers.shape)}; expected (C,), the images of each class")
    empty = (~(numbers > 0) | numbers.isinf()).nonzero().flatten().tolist()
    if empty:
        raise AWBError(f"class {empty[0]} has {numbers[empty[0]]:g} images; expected at least one of each class")
    return numbers.sum() / (len(numbers) * numbers)


def _check(logits: Tensor, targets: Tensor, known: Tensor) -> None:
    if logits.shape != targets.shape or logits.ndim != 2:
        raise AWBError(
            f"logits have shape {tuple(logits.shape)}, targets {tuple(targets.shape)}; expected (N, C), both: images, "
            "classes. torch.nn.functional.one_hot makes targets of class numbers"
        )
    if not logits.is_floating_point():
        raise AWBError(f"logits are {logits.dtype}; expected floats, the scores before the softmax")
    ones = (targets == 1).sum(dim=1)
    wrong = known & ((ones != 1) | ((targets != 0) & (targets != 1)).any(dim=1))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise AWBError(
            f"the targets of image {row} are {targets[row].tolist()}; expected one 1 and else 0 (one-hot), or NaN "
            "where the class is not known"
        )


def _checked_weight(weight: Sequence[float] | Tensor | None) -> Tensor | None:
    """Weights as a float64 tensor; not a buffer, which `model.half()` would round."""
    if weight is None:
        return None
    tensor = torch.as_tensor(weight, dtype=torch.float64).detach().clone()
    if tensor.ndim != 1 or not ((tensor > 0) & torch.isfinite(tensor)).all():
        raise AWBError(f"weight={weight!r}: expected None, or one number above 0 per class, (C,)")
    return tensor
