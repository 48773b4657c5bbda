"""Losses: torchvision's numbers where they overlap, exact means over known labels, gradients that are never NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from awb import AWBError
from awb.study import BCELoss, FocalLoss, MultiLabelLoss, alpha_from_counts, pos_weight_from_counts
from tests.study.two_processes import require_gradients_of_one

ALPHA = torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
LOSSES = [
    BCELoss(),
    BCELoss(alpha=0.3),
    FocalLoss(),
    FocalLoss(gamma=0.5, alpha=ALPHA),
    FocalLoss(gamma=2, alpha=0.25, variant="literal"),
]


def batch(n: int = 16, unknown: float = 0.3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, 3, dtype=torch.float64, generator=generator)
    targets = (torch.rand(n, 3, generator=generator) < 0.4).double()
    targets[torch.rand(n, 3, generator=generator) < unknown] = math.nan
    return logits, targets


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.0, 0.25, 1.0])
def test_focal_loss_is_torchvisions_on_known_labels(gamma: float, alpha: float | None) -> None:
    logits, targets = batch()
    known = ~targets.isnan()
    logits.requires_grad_()
    ours = FocalLoss(gamma, alpha)(logits, targets)
    theirs = sigmoid_focal_loss(
        logits[known], targets[known], alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="mean"
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    grads = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-15)


def test_alpha_by_class_is_torchvisions_class_by_class() -> None:
    logits, targets = batch(unknown=0)
    columns = [sigmoid_focal_loss(logits[:, c], targets[:, c], alpha=float(ALPHA[c])).mean() for c in range(3)]
    torch.testing.assert_close(FocalLoss(alpha=ALPHA)(logits, targets), torch.stack(columns).mean())


def test_halving_a_model_leaves_its_losss_alpha_alone() -> None:
    logits, targets = batch()
    expected = FocalLoss(alpha=ALPHA)(logits, targets)
    assert FocalLoss(alpha=ALPHA).half()(logits, targets) == expected


def test_bce_is_torchs_and_focal_loss_with_gamma_0() -> None:
    logits, targets = batch()
    known = ~targets.isnan()
    expected = F.binary_cross_entropy_with_logits(logits[known], targets[known])
    torch.testing.assert_close(BCELoss()(logits, targets), expected, rtol=1e-14, atol=0)
    for alpha in (None, 0.3, ALPHA):
        bce, focal = BCELoss(alpha), FocalLoss(0, alpha)
        torch.testing.assert_close(bce(logits, targets), focal(logits, targets), rtol=1e-14, atol=0)
    soft = torch.rand(16, 3, dtype=torch.float64)
    torch.testing.assert_close(BCELoss()(logits, soft), FocalLoss(0)(logits, soft), rtol=1e-14, atol=0)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradients_are_those_of_finite_differences(loss: MultiLabelLoss) -> None:
    logits, targets = batch(n=4)
    assert targets.isnan().any()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), logits)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, targets), logits)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_what_is_unknown_has_no_effect_even_behind_broken_logits(loss: MultiLabelLoss) -> None:
    logits, targets = batch()
    unknown = targets.isnan()
    clean = logits.clone().requires_grad_()
    loss(clean, targets).backward()
    for value in (math.nan, math.inf, -math.inf, 1e30):
        broken = logits.masked_fill(unknown, value).requires_grad_()
        result = loss(broken, targets)
        result.backward()
        torch.testing.assert_close(result, loss(logits, targets), rtol=0, atol=0)
        assert clean.grad is not None
        assert broken.grad is not None
        torch.testing.assert_close(broken.grad, clean.grad, rtol=0, atol=0)
        assert (broken.grad[unknown] == 0).all()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_with_nothing_known_loss_and_gradients_are_0(loss: MultiLabelLoss) -> None:
    logits = torch.full((2, 3), math.nan, requires_grad=True)
    result = loss(logits, torch.full((2, 3), math.nan))
    result.backward()
    assert result.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_logits_of_60000_give_finite_losses_and_gradients(
    loss: MultiLabelLoss, dtype: torch.dtype, autocast: bool
) -> None:
    values = [[6e4, -6e4, 0.0], [-6e4, 6e4, 20.0]]
    for targets in (torch.zeros(2, 3), torch.ones(2, 3)):
        logits = torch.tensor(values, dtype=dtype, requires_grad=True)
        with torch.autocast("cpu", dtype, enabled=autocast):
            result = loss(logits, targets)
        result.backward()
        assert result.dtype == torch.float32
        exact = loss(logits.detach().double(), targets)
        torch.testing.assert_close(result.double(), exact, rtol=1e-6, atol=1e-6)
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_a_positive_that_is_far_off_keeps_its_gradient() -> None:
    """Where probabilities are clamped before the logarithm, it has none."""
    for loss in (BCELoss(), FocalLoss(), FocalLoss(variant="literal")):
        logits = torch.tensor([[-100.0]], requires_grad=True)
        loss(logits, torch.ones(1, 1)).backward()
        assert logits.grad is not None
        assert logits.grad.item() == pytest.approx(-1)


def test_the_literal_loss_is_the_printed_formula() -> None:
    logits, targets = batch()
    known, p = ~targets.isnan(), logits.sigmoid()
    printed = -0.25 * (1 - p) ** 2 * targets * p.log()
    literal = FocalLoss(2, 0.25, "literal")(logits, targets)
    torch.testing.assert_close(literal, printed[known].mean(), rtol=1e-12, atol=0)


def test_predicting_all_positive_minimises_the_literal_loss() -> None:
    _, targets = batch()
    logits = torch.zeros_like(targets, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.5)
    literal = FocalLoss(variant="literal")
    for _ in range(100):
        optimizer.zero_grad()
        literal(logits, targets).backward()
        optimizer.step()
    everything = torch.full_like(targets, 1e4)
    assert literal(everything, targets) == 0
    assert FocalLoss()(everything, targets) > 100  # which the two-sided loss does not take
    # no label ever pulls a logit down
    assert (logits >= 0).all()
    assert (logits[targets == 1] > 4).all()


@given(st.lists(st.tuples(st.floats(-50, 50), st.sampled_from([0.0, 1.0, math.nan])), min_size=2, max_size=12))
def test_totals_of_parts_add_up_to_the_total(labels: list[tuple[float, float]]) -> None:
    logits, targets = (torch.tensor(values, dtype=torch.float64)[:, None] for values in zip(*labels, strict=True))
    loss = FocalLoss()
    whole, count = loss.total(logits, targets)
    parts = [loss.total(logits[rows], targets[rows]) for rows in (slice(None, 1), slice(1, None))]
    assert sum(int(n) for _, n in parts) == int(count) == int((~targets.isnan()).sum())
    assert sum(float(s) for s, _ in parts) == pytest.approx(float(whole), rel=1e-12)


def _uneven() -> tuple[Tensor, Tensor]:
    """A batch of 8, of which the first process has 4 with few known labels, and the second with all known."""
    features = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = (features[:, :3] > 0).double()
    targets[:4, 1:] = math.nan
    targets[0] = math.nan
    return features, targets


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_processes_with_unequal_known_labels_give_the_gradients_of_one(tmp_path: Path) -> None:
    features, targets = _uneven()
    counts = [int((~targets[rows].isnan()).sum()) for rows in (slice(4), slice(4, 8))]
    assert counts == [3, 12]
    require_gradients_of_one(tmp_path, LOSSES, features, targets)


def test_alpha_from_counts_gives_both_sides_the_same_weight() -> None:
    _, targets = batch(n=64)
    positives, known = (targets == 1).sum(0), (~targets.isnan()).sum(0)
    alpha = alpha_from_counts(positives, known)
    torch.testing.assert_close(alpha * positives, (1 - alpha) * (known - positives))
    torch.testing.assert_close(alpha_from_counts([1, 5], 10), torch.tensor([0.9, 0.5], dtype=torch.float64))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: BCELoss()(torch.zeros(2, 3), torch.zeros(2, 1)), r"\(2, 3\).*\(2, 1\)"),
        (lambda: BCELoss()(torch.zeros(3), torch.zeros(3)), r"\(3,\).*\(N, C\)"),
        (lambda: BCELoss()(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3)), "int64"),
        (lambda: FocalLoss()(torch.zeros(2, 2), torch.tensor([[0, 1], [-1, 0]])), "image 1, class 0 is -1"),
        (lambda: FocalLoss()(torch.zeros(1, 1), torch.tensor([[1.5]])), "is 1.5"),
        (lambda: FocalLoss(alpha=ALPHA)(torch.zeros(2, 4), torch.zeros(2, 4)), "alpha is for 3 classes, logits have 4"),
        (lambda: FocalLoss(gamma=-1), "gamma=-1"),
        (lambda: FocalLoss(gamma=math.nan), "gamma=nan"),
        (lambda: FocalLoss(alpha=1.5), "alpha=1.5"),
        (lambda: FocalLoss(variant="litteral"), "did you mean 'literal'"),
        (lambda: BCELoss(alpha=torch.zeros(2, 2)), "alpha="),
        (lambda: alpha_from_counts([3, 0], 5), "class 1 has 0 positives among 5"),
        (lambda: alpha_from_counts([3, 5], 5), "class 1 has 5 positives among 5"),
        (lambda: alpha_from_counts([3, 5], [9]), "shape"),
    ],
)
def test_wrong_input_is_refused_by_name(call: object, words: str) -> None:
    with pytest.raises(AWBError, match=words):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16])
def test_labels_may_have_any_dtype(dtype: torch.dtype) -> None:
    logits, targets = batch(unknown=0)
    assert BCELoss()(logits, targets.to(dtype)) == BCELoss()(logits, targets)


def test_pos_weight_is_torchs_and_gives_both_sides_the_same_weight() -> None:
    torch.manual_seed(0)
    positives, known = torch.tensor([3.0, 40.0]), torch.tensor([50.0, 100.0])
    weight = pos_weight_from_counts(positives, known)
    torch.testing.assert_close(weight * positives.double(), (known - positives).double())
    logits, targets = 3 * torch.randn(20, 2, dtype=torch.float64), (torch.rand(20, 2) < 0.4).double()
    theirs = torch.nn.BCEWithLogitsLoss(pos_weight=weight)(logits, targets)
    torch.testing.assert_close(BCELoss(pos_weight=weight)(logits, targets), theirs)
    targets[3] = torch.nan
    rest = [row for row in range(20) if row != 3]
    theirs = torch.nn.BCEWithLogitsLoss(pos_weight=weight)(logits[rest], targets[rest])
    torch.testing.assert_close(BCELoss(pos_weight=weight)(logits, targets), theirs)


def test_alpha_weighs_rare_classes_down_and_pos_weight_does_not() -> None:
    positives, images = torch.tensor([19_894.0, 227.0], dtype=torch.float64), 112_120  # NIH's Infiltration, Hernia
    alpha, weight = alpha_from_counts(positives, images), pos_weight_from_counts(positives, images)
    by_alpha = alpha * positives + (1 - alpha) * (images - positives)
    by_weight = weight * positives + (images - positives)
    assert (by_alpha[0] / by_alpha[1]).item() == pytest.approx(72, abs=0.5)
    assert (by_weight[0] / by_weight[1]).item() == pytest.approx(0.82, abs=0.01)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: BCELoss(alpha=0.5, pos_weight=2.0), "give one of them"),
        (lambda: BCELoss(pos_weight=0.0), "a number above 0"),
        (lambda: BCELoss(pos_weight=torch.tensor([1.0, torch.inf])), "a number above 0"),
        (lambda: BCELoss(pos_weight=torch.ones(3))(torch.zeros(1, 2), torch.zeros(1, 2)), "pos_weight is for 3"),
        (lambda: pos_weight_from_counts([0, 3], 5), "class 0 has 0 positives"),
    ],
)
def test_a_pos_weight_that_cannot_be_meant_is_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(AWBError, match=words):
        call()
