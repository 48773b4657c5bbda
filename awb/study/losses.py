"""Losses of multi-label classification on logits, averaged over the known labels (not NaN)."""

from __future__ import annotations

from typing import Literal

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from awb.errors import AWBError, did_you_mean
from awb.study.known_label_loss import KnownLabelLoss, checked_smoothing

Alpha = float | Tensor | None
_VARIANTS = ("two_sided", "literal")


class MultiLabelLoss(KnownLabelLoss):
    """Mean loss over the known labels; a subclass defines the loss of one label.

    Averaged over processes as `KnownLabelLoss` is. Logits of float16 and bfloat16 are computed in float32, also under
    autocast. Logits behind unknown labels, NaN and infinite ones included, neither count nor get a gradient.
    Probabilities given in place of logits cannot be told from logits, and give wrong losses without an error.
    """

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of each label, (N, C), from logits and known targets in [0, 1] of one float dtype, (N, C)."""
        raise NotImplementedError

    def total(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """This process's sum of losses and its number of known labels (int64), both scalars.

        Args:
            logits: Scores before the sigmoid, float (N, C).
            targets: Labels from 0 to 1, or NaN (unknown), (N, C), of any dtype.

        Raises:
            AWBError: Shapes disagree or are not (N, C), logits are not floats, or a label lies outside [0, 1].
        """
        _check(logits, targets)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        known = ~torch.isnan(targets)
        # both before the computation, so that what is unknown cannot reach the gradient as 0 · NaN
        logits = torch.where(known, logits.to(dtype), 0.0)
        targets = torch.where(known, targets.to(dtype), 0.0)
        losses = torch.where(known, self.elementwise(logits, targets), 0.0)
        return losses.sum(), known.sum()


class FocalLoss(MultiLabelLoss):
    """Focal loss (Lin et al. 2017, arXiv:1708.02002, eq. 5), one sigmoid per class.

    With p = σ(logit) and label y, the loss of a label is

    - `two_sided`: −α·y·(1 − p)^γ·log p − (1 − α)·(1 − y)·p^γ·log(1 − p); both weights are 1 if `alpha` is None.
      For labels 0 and 1 this is `torchvision.ops.sigmoid_focal_loss`.
    - `literal`: −α·y·(1 − p)^γ·log p, the positive term alone, as some reports print it. **Predicting
      every class positive minimises it**, since negatives have no loss. It is here to show what that formula does.

    Computed from log-sigmoids, so that large logits neither overflow nor lose their gradient. With γ = 0,
    `two_sided` is `BCELoss`.

    Args:
        gamma: Focusing parameter γ, at least 0; the larger it is, the less easy labels weigh.
        alpha: Weight of positives, in [0, 1]; negatives weigh 1 − alpha. A number, or one per class, (C,);
            see `alpha_from_counts`.
        variant: `two_sided` or `literal`.

    Raises:
        AWBError: An argument is out of range.
    """

    def __init__(
        self, gamma: float = 2.0, alpha: Alpha = None, variant: Literal["two_sided", "literal"] = "two_sided"
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            raise AWBError(f"gamma={gamma!r}: expected a number of at least 0")
        if variant not in _VARIANTS:
            raise AWBError(f"variant={variant!r}: expected two_sided or literal{did_you_mean(str(variant), _VARIANTS)}")
        self.gamma = float(gamma)
        self.variant = variant
        self.alpha = _checked_alpha(alpha)

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
        positive = -targets * torch.exp(self.gamma * log_not_p) * log_p
        negative = -(1 - targets) * torch.exp(self.gamma * log_p) * log_not_p
        if self.alpha is not None:
            alpha = _for_logits(self.alpha, logits, "alpha")
            positive, negative = alpha * positive, (1 - alpha) * negative
        return positive if self.variant == "literal" else positive + negative

    def extra_repr(self) -> str:
        return f"gamma={self.gamma:g}, alpha={_shown(self.alpha)}, variant={self.variant!r}"


class BCELoss(MultiLabelLoss):
    """Binary cross-entropy, one sigmoid per class: −α·y·log p − (1 − α)·(1 − y)·log(1 − p), with p = σ(logit).

    With `pos_weight` w instead, it is torch's `binary_cross_entropy_with_logits`: −w·y·log p − (1 − y)·log(1 − p).

    `label_smoothing` s puts y·(1 − s) + s/2 in place of each label y: the smoothing of Szegedy et al. 2016
    (arXiv:1512.00567, section 7) between the two labels of one class. Validation losses are then smoothed too, and
    probabilities are drawn towards .5.

    Args:
        alpha: Weight of positives, in [0, 1]; negatives weigh 1 − alpha. A number, or one per class, (C,); None
            gives both the weight 1.
        pos_weight: Weight of positives, above 0; negatives weigh 1. A number, or one per class, (C,), as from
            `pos_weight_from_counts`.
        label_smoothing: From 0 up to, not including, 1.

    Raises:
        AWBError: An argument is out of range, or both `alpha` and `pos_weight` are given.

    Examples:
        >>> import torch
        >>> from awb.study import BCELoss, pos_weight_from_counts
        >>> loss = BCELoss(pos_weight=pos_weight_from_counts([250, 10], 1000))
        >>> loss
        BCELoss(pos_weight=[3.0, 99.0])
        >>> round(loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item(), 4)
        1.3863
    """

    def __init__(self, alpha: Alpha = None, pos_weight: Alpha = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if alpha is not None and pos_weight is not None:
            raise AWBError("alpha and pos_weight both weigh positives; give one of them")
        self.alpha = _checked_alpha(alpha)
        self.pos_weight = _checked_pos_weight(pos_weight)
        self.label_smoothing = checked_smoothing(label_smoothing)

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.alpha is not None:
            alpha = _for_logits(self.alpha, logits, "alpha")
            return -alpha * targets * F.logsigmoid(logits) - (1 - alpha) * (1 - targets) * F.logsigmoid(-logits)
        weight = None if self.pos_weight is None else _for_logits(self.pos_weight, logits, "pos_weight")
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=weight)

    def extra_repr(self) -> str:
        weight = f"alpha={_shown(self.alpha)}" if self.pos_weight is None else f"pos_weight={_shown(self.pos_weight)}"
        return weight + (f", label_smoothing={self.label_smoothing:g}" if self.label_smoothing else "")


def alpha_from_counts(positives: npt.ArrayLike, total: npt.ArrayLike) -> Tensor:
    """Weight α of each class that gives its positives and its negatives the same total weight: the negatives' share.

    It is the inverse class frequency of Lin et al. 2017, section 3.1, between the two labels of **one class**.
    Between classes it weighs rare ones **down**: with P positives and N negatives a class weighs 2·P·N / (P + N) in
    all, little more than its positives. On NIH's ChestX-ray14, Hernia (227 images) then weighs 72 times less than
    Infiltration (19,894). Where rare classes are to count as much as others, use `pos_weight_from_counts`.

    Args:
        positives: Number of positive labels of each class, (C,).
        total: Number of known labels: one for all classes, or one per class, (C,).

    Returns:
        α = 1 − positives / total, float64 (C,).

    Raises:
        AWBError: A class has no positive or no negative label: one side would weigh nothing.

    Examples:
        >>> from awb.study import alpha_from_counts
        >>> alpha_from_counts([250, 10], 1000).tolist()
        [0.75, 0.99]
    """
    counts, totals = _checked_counts(positives, total)
    return 1 - counts / totals


def pos_weight_from_counts(positives: npt.ArrayLike, total: npt.ArrayLike) -> Tensor:
    """Weight of each class's positives that gives them the same total weight as its negatives, which weigh 1.

    For `BCELoss(pos_weight=…)` and torch's `BCEWithLogitsLoss`. A class then weighs 2·N for its N negatives, so that
    rare classes weigh no less than common ones (on NIH's ChestX-ray14 Hernia 1.2 times as much as Infiltration). The
    probabilities of rare classes come out far too high; and one positive of a very rare class weighs hundreds of
    negatives (NIH's Hernia 493), which makes training unsteady: clip it, `.clamp(max=…)`, if the loss diverges.

    Args:
        positives: Number of positive labels of each class, (C,).
        total: Number of known labels: one for all classes, or one per class, (C,).

    Returns:
        negatives / positives, float64 (C,).

    Raises:
        AWBError: A class has no positive or no negative label.

    Examples:
        >>> from awb.study import pos_weight_from_counts
        >>> pos_weight_from_counts([250, 10], 1000).tolist()
        [3.0, 99.0]
    """
    counts, totals = _checked_counts(positives, total)
    return (totals - counts) / counts


def _checked_counts(positives: npt.ArrayLike, total: npt.ArrayLike) -> tuple[Tensor, Tensor]:
    """Check both counts; return positives and totals as float64 (C,)."""
    counts = torch.as_tensor(positives, dtype=torch.float64)
    totals = torch.as_tensor(total, dtype=torch.float64)
    if counts.ndim != 1 or totals.ndim > 1 or (totals.ndim == 1 and totals.shape != counts.shape):
        raise AWBError(
            f"positives of shape {tuple(counts.shape)} and total of shape {tuple(totals.shape)}; "
            "expected (C,), and one number or (C,)"
        )
    totals = totals.expand_as(counts)
    for index, (positive, known) in enumerate(zip(counts.tolist(), totals.tolist(), strict=True)):
        if not 0 < positive < known:
            raise AWBError(
                f"class {index} has {positive:g} positives among {known:g} known labels; "
                "expected at least one positive and one negative"
            )
    return counts, totals


def _check(logits: Tensor, targets: Tensor) -> None:
    if logits.shape != targets.shape:
        raise AWBError(f"logits have shape {tuple(logits.shape)}, targets {tuple(targets.shape)}; expected the same")
    if logits.ndim != 2:
        raise AWBError(f"logits have shape {tuple(logits.shape)}; expected (N, C): images, classes")
    if not logits.is_floating_point():
        raise AWBError(f"logits are {logits.dtype}; expected floats, the scores before the sigmoid")
    outside = (targets < 0) | (targets > 1)  # False for NaN
    if outside.any():
        row, column = outside.nonzero()[0].tolist()
        raise AWBError(
            f"the label of image {row}, class {column} is {targets[row, column].item():g}; "
            "expected 0 to 1, or NaN (unknown)"
        )


def _checked_alpha(alpha: Alpha) -> Tensor | None:
    """Weight as a float64 tensor; not a buffer, which `model.half()` would round."""
    if alpha is None:
        return None
    tensor = torch.as_tensor(alpha, dtype=torch.float64).detach().clone()
    if tensor.ndim > 1 or not ((tensor >= 0) & (tensor <= 1)).all():
        raise AWBError(f"alpha={alpha!r}: expected None, a number in [0, 1], or one per class, (C,)")
    return tensor


def _checked_pos_weight(weight: Alpha) -> Tensor | None:
    if weight is None:
        return None
    tensor = torch.as_tensor(weight, dtype=torch.float64).detach().clone()
    if tensor.ndim > 1 or not ((tensor > 0) & torch.isfinite(tensor)).all():
        raise AWBError(f"pos_weight={weight!r}: expected None, a number above 0, or one per class, (C,)")
    return tensor


def _for_logits(weight: Tensor, logits: Tensor, name: str) -> Tensor:
    if weight.ndim == 1 and len(weight) != logits.shape[1]:
        raise AWBError(f"{name} is for {len(weight)} classes, logits have {logits.shape[1]}")
    return weight.to(logits)


def _shown(alpha: Tensor | None) -> str:
    return "None" if alpha is None else str(alpha.tolist())
