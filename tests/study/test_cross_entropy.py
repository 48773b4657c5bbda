"""Cross-entropy: torch's on the images whose class is known, exact means over processes, weights of classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from awb import AWBError
from awb.study import CrossEntropyLoss, KnownLabelLoss, MultiLabelLoss, class_weights_from_counts
from tests.study.two_processes import require_gradients_of_one

WEIGHT = [0.5, 1.0, 3.0]
LOSSES = [CrossEntropyLoss(), CrossEntropyLoss(0.1), CrossEntropyLoss(0.2, WEIGHT), CrossEntropyLoss(weight=WEIGHT)]


def batch(n: int = 16, unknown: float = 0.3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, 3, dtype=torch.float64, generator=generator)
    targets = F.one_hot(torch.randint(3, (n,), generator=generator), 3).double()
    targets[torch.rand(n, generator=generator) < unknown] = math.nan
    return logits, targets


@given(st.integers(1, 12), st.integers(0, 1000), st.floats(0, 0.99), st.booleans())
def test_it_is_torchs_on_the_known_images(n: int, seed: int, smoothing: float, weighted: bool) -> None:
    logits, targets = batch(n, seed=seed)
    targets[0] = torch.eye(3)[seed % 3]
    known = ~targets.isnan().any(dim=1)
    logits.requires_grad_()
    weight = torch.tensor(WEIGHT, dtype=torch.float64) if weighted else None
    ours = CrossEntropyLoss(smoothing, weight)(logits, targets)
    theirs = F.cross_entropy(logits[known], targets[known].argmax(dim=1), weight, label_smoothing=smoothing,
                             reduction="sum") / known.sum()  # fmt: skip
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    grads = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradients_are_those_of_finite_differences(loss: KnownLabelLoss) -> None:
    logits, targets = batch(4, unknown=0.5)
    assert targets.isnan().any()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), logits)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_what_is_unknown_has_no_effect_even_behind_broken_logits(loss: KnownLabelLoss) -> None:
    logits, targets = batch()
    unknown = targets.isnan().any(dim=1)
    targets[int(unknown.nonzero()[0]), 0] = 1  # of which one label is known, and the class is not
    for value in (math.nan, math.inf, -math.inf):
        broken = logits.clone()
        broken[unknown] = value
        broken.requires_grad_()
        result = loss(broken, targets)
        result.backward()
        assert result == loss(logits, targets)
        assert broken.grad is not None
        assert (broken.grad[unknown] == 0).all()
        assert broken.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_with_nothing_known_loss_and_gradients_are_0(loss: KnownLabelLoss) -> None:
    logits = torch.full((2, 3), math.nan, requires_grad=True)
    result = loss(logits, torch.full((2, 3), math.nan))
    result.backward()
    assert result.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_logits_of_60000_give_finite_losses_and_gradients(dtype: torch.dtype, autocast: bool) -> None:
    for loss in LOSSES:
        logits = torch.tensor([[6e4, -6e4, 0.0], [-6e4, 6e4, 20.0]], dtype=dtype, requires_grad=True)
        with torch.autocast("cpu", dtype, enabled=autocast):
            result = loss(logits, torch.eye(3)[1:])
        result.backward()
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), loss(logits.detach().double(), torch.eye(3)[1:]))
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16])
def test_targets_may_have_any_dtype(dtype: torch.dtype) -> None:
    logits, targets = batch(unknown=0)
    assert CrossEntropyLoss()(logits, targets.to(dtype)) == CrossEntropyLoss()(logits, targets)


def test_it_is_no_multi_label_loss_and_totals_add_up() -> None:
    loss = CrossEntropyLoss(weight=WEIGHT)
    assert not isinstance(loss, MultiLabelLoss)
    logits, targets = batch(12)
    whole, count = loss.total(logits, targets)
    parts = [loss.total(logits[rows], targets[rows]) for rows in (slice(5), slice(5, None))]
    assert sum(int(n) for _, n in parts) == int(count) == int((~targets.isnan().any(dim=1)).sum())
    assert sum(float(s) for s, _ in parts) == pytest.approx(float(whole), rel=1e-12)
    assert CrossEntropyLoss(weight=WEIGHT).half()(logits, targets) == loss(logits, targets)


def _uneven() -> tuple[Tensor, Tensor]:
    """A batch of 8, of which the first process has 4 with one known class, and the second with all known."""
    features = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = F.one_hot(features[:, :3].argmax(dim=1), 3).double()
    targets[:3] = math.nan
    return features, targets


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_processes_with_unequal_known_images_give_the_gradients_of_one(tmp_path: Path) -> None:
    features, targets = _uneven()
    require_gradients_of_one(tmp_path, LOSSES, features, targets)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6))
def test_class_weights_are_scikit_learns_balanced_and_1_on_average(counts: list[int]) -> None:
    weights = class_weights_from_counts(counts).numpy()
    numbers = np.repeat(np.arange(len(counts)), counts)
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(len(counts)), y=numbers))
    assert weights[numbers].mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: CrossEntropyLoss()(torch.zeros(2, 3), torch.zeros(2, 1)), r"\(2, 3\).*\(2, 1\).*one_hot"),
        (lambda: CrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([0, 1])), r"\(2, 3\), targets \(2,\)"),
        (lambda: CrossEntropyLoss()(torch.zeros(2, 3, dtype=torch.int64), torch.eye(3)[:2]), "logits are torch.int64"),
        (lambda: CrossEntropyLoss()(torch.zeros(2, 2), torch.tensor([[0, 1], [1, 1]])), r"image 1 are \[1, 1\]"),
        (lambda: CrossEntropyLoss()(torch.zeros(2, 2), torch.zeros(2, 2)), r"image 0 are \[0\.0, 0\.0\]; expected one"),
        (lambda: CrossEntropyLoss()(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]])), "image 0"),
        (lambda: CrossEntropyLoss()(torch.zeros(1, 3), torch.tensor([[1.0, 0.5, -0.5]])), "image 0"),
        (lambda: CrossEntropyLoss(weight=WEIGHT)(torch.zeros(1, 2), torch.eye(2)[:1]), "weight is for 3 classes"),
        (lambda: CrossEntropyLoss(1.0), "label_smoothing=1.0"),
        (lambda: CrossEntropyLoss(math.nan), "label_smoothing=nan"),
        (lambda: CrossEntropyLoss(weight=[1.0, 0.0]), "one number above 0 per class"),
        (lambda: class_weights_from_counts([3, 0]), "class 1 has 0 images"),
        (lambda: class_weights_from_counts(3), "counts have shape"),
    ],
)
def test_wrong_input_is_refused_by_name(call: Callable[[], object], words: str) -> None:
    with pytest.raises(AWBError, match=words):
        call()
