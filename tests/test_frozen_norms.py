"""Frozen statistics stay what they are, whatever tool counts batch norms' statistics anew."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import timm
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

import awb
from tests.levels import slow_but


def images(number: int = 3) -> list[Tensor]:
    return [2 * torch.randn(4, 3, 64, 64) + 1 for _ in range(number)]


def frozen(**options: bool) -> nn.Module:
    model = timm.create_model("test_resnet", num_classes=3).train()
    for batch in images():
        model(batch)  # stands for pretrained statistics
    return awb.freeze_backbone(awb.attach_awb(model, "last"), **options)


def statistics(model: nn.Module) -> list[Tensor]:
    return [b.clone() for name, b in model.named_buffers() if "running" in name]


def counted_by_torch(model: nn.Module) -> None:
    update_bn(images(), model)


def counted_by_assignment(model: nn.Module) -> None:
    """As Lightning's StochasticWeightAveraging does it: other tensors in the place of the statistics."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None  # noqa: PT018
        norm.running_mean, norm.running_var = torch.zeros_like(norm.running_mean), torch.ones_like(norm.running_var)
        norm.momentum = None
    model.train()
    for batch in images():
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "itself": lambda model: model,
    "average": AveragedModel,
    "average with buffers": lambda model: AveragedModel(model, use_buffers=True),
    "timm's EMA": ModelEmaV3,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "SyncBatchNorm": nn.SyncBatchNorm.convert_sync_batchnorm,
}


@pytest.mark.parametrize("count", slow_but([counted_by_torch], [counted_by_torch, counted_by_assignment]))
@pytest.mark.parametrize("kind", COPIES)
def test_counting_anew_leaves_frozen_statistics(kind: str, count: Callable[[nn.Module], None]) -> None:
    model = frozen()
    model = COPIES[kind](model)
    before = statistics(model)
    (batch,) = images(1)
    with torch.no_grad():
        expected = model.eval()(batch)
        count(model)
        assert torch.equal(model.eval()(batch), expected)
    assert all(map(torch.equal, statistics(model), before))
    assert any(not torch.equal(b, torch.zeros_like(b)) for b in before)


@pytest.mark.parametrize("count", [counted_by_torch, counted_by_assignment])
def test_thawed_statistics_are_counted(count: Callable[[nn.Module], None]) -> None:
    for model in (awb.unfreeze_backbone(frozen()), frozen(freeze_norm_stats=False)):
        before = statistics(model)
        with torch.no_grad():
            count(model)
        after = statistics(model)
        assert not any(map(torch.equal, after, before))
        assert all(value.abs().sum() > 0 for value in after)


def test_the_heads_own_norms_are_counted() -> None:
    model = nn.Sequential()
    model.backbone, model.head = timm.create_model("test_resnet", num_classes=8), nn.BatchNorm1d(8)
    awb.freeze_backbone(model)
    with torch.no_grad():
        update_bn(images(), model)
    assert model.head.running_mean.abs().sum() > 0


def test_what_is_loaded_after_freezing_is_kept() -> None:
    other = frozen().state_dict()
    for assign in (False, True):
        model = frozen().to(torch.float64)
        model.load_state_dict(other, assign=assign)
        for batch in images(1):
            model(batch.to(next(model.parameters()).dtype))
        counted_by_assignment(model.float())
        assert all(map(torch.equal, statistics(model), [b for key, b in other.items() if "running" in key]))


def test_instance_norms_go_on_with_their_statistics() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.InstanceNorm2d(3, track_running_stats=True)
            self.out = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.norm(x))

    model = Net()
    (batch,) = images(1)
    model.train()(batch)
    expected = model.eval()(batch)
    assert torch.equal(awb.freeze_backbone(model, head="out").train()(batch), expected)


def test_freezing_and_back_leaves_no_trace() -> None:
    model = timm.create_model("test_resnet", num_classes=3)
    before = {name: dict(vars(m)) for name, m in model.named_modules()}
    awb.unfreeze_backbone(awb.freeze_backbone(awb.freeze_backbone(model)))
    for name, module in model.named_modules():
        assert {k: v for k, v in vars(module).items() if not k.startswith("_")} == {
            k: v for k, v in before[name].items() if not k.startswith("_")
        }
        assert not module._forward_pre_hooks
