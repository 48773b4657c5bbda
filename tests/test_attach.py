"""attach and detach: exact, reversible, and never silently without effect."""

from __future__ import annotations

import copy
import io
import pickle
from collections import namedtuple
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torchvision.models import DenseNet

import awb
from awb.hooks.steps import replace_element
from tests.helpers import assert_same, fitting, gradients, perturb, snapshot
from tests.levels import slow_but


def resnet(**kwargs: Any) -> nn.Module:
    return timm.create_model("test_resnet", pretrained=False, **kwargs).eval()


def densenet() -> nn.Module:
    return DenseNet(8, (1, 1, 1, 1), 16, num_classes=5).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64)


def attached(stages: Any = "all", model: nn.Module | None = None, **kwargs: Any) -> nn.Module:
    model = awb.attach_awb(model or resnet(), stages, **kwargs)
    perturb(model)
    return model


# --- identity, copies, keys --------------------------------------------------------------------------------------


def test_further_stages_may_be_attached_later(images: Tensor) -> None:
    model = resnet()
    expected = model(images)
    keys = list(model.state_dict())
    awb.attach_awb(model, 3)
    awb.attach_awb(model, 4, attention="se")
    assert [row["attention"] for row in awb.summary(model)] == ["lka", "se"]
    assert torch.equal(model(images), expected)
    assert list(awb.detach_awb(model).state_dict()) == keys


@pytest.mark.parametrize("kind", slow_but(["lka", "van", "se", "cbam", "timm_nl"], fitting(32, 5)))
def test_identity_is_exact_for_every_kind(kind: str, images: Tensor) -> None:
    model = resnet()
    expected = model(images)
    awb.attach_awb(model, "all", attention=kind)
    assert torch.equal(model(images), expected)
    model(images).square().sum().backward()
    for path, block in awb.awb_blocks(model).items():
        assert any(p.grad is not None and p.grad.any() for p in block.parameters()), path


@pytest.mark.parametrize("kind", ["lka", "van", "se", "cbam"])
def test_everything_learns_from_the_second_step(kind: str, images: Tensor) -> None:
    """Zeroing both γ and the last convolution would leave zero gradients for ever."""
    model = awb.attach_awb(resnet(), 4, attention=kind)
    parameters = dict(awb.awb_blocks(model)["layer4.0.awb"].named_parameters())
    optimizer = torch.optim.SGD(parameters.values(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(images).square().sum().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in parameters.values())


def test_default_init_is_the_kinds_own(images: Tensor) -> None:
    model = resnet()
    torch.manual_seed(3)
    block = awb.awb_blocks(awb.attach_awb(model, 4, init="default"))["layer4.0.awb"]
    torch.manual_seed(3)
    fresh = awb.LKA(96)
    for ours, theirs in zip(block.attention.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert block.gamma is None


def test_backbone_keys_stay_and_checkpoints_load(images: Tensor) -> None:
    plain = resnet()
    model = attached()
    own = [key for key in model.state_dict() if ".awb." not in key]
    assert own == list(plain.state_dict())
    result = model.load_state_dict(plain.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert all(".awb." in key for key in result.missing_keys)
    other = attached()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images), model(images))


def test_head_is_stripped_as_ever() -> None:
    model = torchvision.models.resnet18(weights=None).eval()
    before = [name for name, _ in model.named_children()]
    images = torch.randn(1, 3, 64, 64)
    features = nn.Sequential(*list(model.children())[:-1])(images)
    awb.attach_awb(model, "all")
    assert [name for name, _ in model.named_children()] == before
    stripped = nn.Sequential(*list(model.children())[:-1])
    assert torch.equal(stripped(images), features)
    perturb(model)
    assert not torch.equal(stripped(images), features)


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies_run_their_own_blocks(how: str, images: Tensor) -> None:
    model = attached()
    expected = model(images)
    if how == "deepcopy":
        duplicate = copy.deepcopy(model)
    elif how == "pickle":
        duplicate = pickle.loads(pickle.dumps(model))
    else:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        duplicate = torch.load(buffer, weights_only=False)
    with torch.no_grad():
        for parameter in awb.awb_parameters(model):
            parameter.zero_()
    assert torch.equal(duplicate(images), expected)
    assert not torch.equal(model(images), expected)
    awb.detach_awb(duplicate)
    assert list(duplicate.state_dict()) == list(resnet().state_dict())


def test_copies_of_token_models_read_their_own_grid() -> None:
    model = attached(model=timm.create_model("test_vit", pretrained=False, dynamic_img_size=True).eval())
    duplicate = copy.deepcopy(model)
    tall, wide = torch.randn(1, 3, 64, 32), torch.randn(1, 3, 32, 64)
    expected = duplicate(tall)
    model(wide)
    assert torch.equal(duplicate(tall), expected)


def test_token_grid_follows_the_input() -> None:
    """224×112 and 112×224 have the same number of tokens; transposing the image must transpose the map."""

    @awb.register_attention("column_mean")
    class ColumnMean(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=2, keepdim=True).expand_as(x)

    model = timm.create_model("test_vit", pretrained=False, dynamic_img_size=True).eval()
    awb.attach_awb(model, 1, attention="column_mean", init="default")
    shapes: list[tuple[int, ...]] = []
    awb.awb_blocks(model)["blocks.0.awb"].attention.register_forward_hook(
        lambda _, a, __: shapes.append(a[0].shape[2:])
    )
    for size in ((160, 160), (64, 32), (32, 64), (160, 160)):
        model(torch.randn(1, 3, *size))
    assert shapes == [(10, 10), (4, 2), (2, 4), (10, 10)]


# --- switching off -------------------------------------------------------------------------------------------------


def test_disabled_blocks_and_nesting(images: Tensor) -> None:
    model = resnet()
    plain = model(images)
    attached(model=model)
    changed = model(images)
    with awb.awb_disabled(model):
        assert torch.equal(model(images), plain)
        with awb.awb_disabled(model):
            pass
        assert torch.equal(model(images), plain), "the inner exit must not switch the blocks on"
        with pytest.raises(KeyError), awb.awb_disabled(model):
            raise KeyError
    assert torch.equal(model(images), changed)


# --- hooks that get lost --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [nn.SyncBatchNorm.convert_sync_batchnorm, freeze_batch_norm_2d])
def test_a_lost_block_raises_wherever_it_matters(convert: Any, images: Tensor, tmp_path: Any) -> None:
    """Both conversions replace DenseNet's norm5; the hook goes with the old module."""
    model = convert(attached("after", densenet()))
    for use in (
        lambda: model(images),
        lambda: awb.summary(model),
        lambda: awb.save_awb(model, tmp_path / "x.safetensors"),
    ):
        with pytest.raises(awb.LostBlockError, match=r"features.norm5.awb no longer runs.*Convert before attaching"):
            use()


def test_a_moved_block_can_be_hooked_again(images: Tensor) -> None:
    model = densenet()
    plain = model(images)
    changed = attached("after", model)(images)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model).eval()
    awb.rehook_awb(model)
    assert torch.allclose(model(images), changed, atol=1e-6)
    assert torch.allclose(awb.detach_awb(model)(images), plain, atol=1e-6)


def test_a_replaced_block_raises(images: Tensor) -> None:
    model = attached(4)
    model.layer4 = nn.Sequential(*resnet().layer4)
    with pytest.raises(awb.LostBlockError):
        model(images)
    with pytest.raises(awb.LostBlockError, match=r"layer4.0.awb went with it: put that module back"):
        awb.rehook_awb(model)
    awb.rehook_awb(model, forget=True)
    model(images)


# --- where blocks live ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_blocks_take_dtype_device_and_mode(dtype: torch.dtype) -> None:
    model = resnet().to(dtype).train()
    model.layer3.eval()
    awb.attach_awb(model, "all")
    for path, block in awb.awb_blocks(model).items():
        assert {p.dtype for p in block.parameters()} == {dtype}
        assert all(m.training == ("layer3" not in path) for m in block.modules())
    meta = awb.attach_awb(resnet().to("meta"), "all")
    assert all(p.is_meta for p in awb.awb_parameters(meta))


def test_blocks_after_parameterless_modules_take_the_models_dtype() -> None:
    model = awb.attach_awb(timm.create_model("vgg11_bn", mlp_ratio=0.02).double(), "all", input_size=32)
    assert {p.dtype for p in awb.awb_parameters(model)} == {torch.float64}


def test_feature_hooks_see_the_blocks_output(images: Tensor) -> None:
    """Hooks registered before attaching, as timm's feature extraction does, run after the block."""
    model = resnet()
    seen: list[Tensor] = []
    model.layer4[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    attached(4, model)
    model(images)
    with awb.awb_disabled(model):
        model(images)
    assert not torch.equal(seen[0], seen[1])


class InPlaceReader(nn.Module):
    """The stage's map feeds an in-place consumer and a side branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stage, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stage(x)
        side = 2 * y
        return self.relu(y) + side


@pytest.mark.parametrize("kind", ["lka", "se"])
def test_in_place_consumers_do_not_break_the_backward(kind: str) -> None:
    model, images = InPlaceReader(), torch.randn(2, 3, 8, 8)
    expected = gradients(model, images)
    awb.attach_awb(model, ["stage"], attention=kind, input_size=8)
    found = gradients(model, images)
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name


class TupleStage(nn.Module):
    """A stage that returns (map, extra), as timm's selecsls and pit do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.stage = Both()

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.stage(self.conv(x))
        return first.mean((2, 3)) + second.mean((2, 3))


class Both(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x[:, :, ::2, ::2]


def test_elements_of_tuples() -> None:
    model = TupleStage()
    images = torch.randn(2, 3, 8, 8)
    expected = model(images)
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match="several maps"):
        awb.attach_awb(model, ["stage"], input_size=8)
    sites = tuple(awb.Site("stage", element, 4, "NCHW", (8 // (element + 1),) * 2) for element in (0, 1))
    awb.attach_awb(model, awb.Stage(None, "stage", 1, True, sites), input_size=8)
    assert list(awb.awb_blocks(model)) == ["stage.awb.0", "stage.awb.1"]
    assert torch.equal(model(images), expected)
    for path in awb.awb_blocks(model):
        with torch.no_grad():
            awb.awb_blocks(model)[path].attention.pointwise.bias.fill_(2.0)
    assert torch.allclose(model(images), 2 * expected)
    awb.detach_awb(model)
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(model))


def test_replace_element_keeps_the_container() -> None:
    pair = namedtuple("pair", "a b")
    value = torch.ones(1)
    assert replace_element((1, 2), 1, value) == (1, value)
    assert replace_element([1, 2], 0, value) == [value, 2]
    assert replace_element(pair(1, 2), 0, value) == pair(value, 2)
    source = {"a": 1, "b": 2}
    assert replace_element(source, "b", value) == {"a": 1, "b": value}
    assert source == {"a": 1, "b": 2}


def test_plan_is_a_dry_run_and_prints() -> None:
    model = resnet()
    before = snapshot(model)
    plan = awb.plan_awb(model, [3, 4])
    text = str(plan)
    assert_same(before, snapshot(model))
    assert "layer3.0" in text
    assert "MACs" in text
    awb.attach_awb(model, [3, 4])
    shown = [{key: row[key] for key in row if key != "trainable"} for row in awb.summary(model)]
    assert shown == list(plan.table())
    params = sum(row["params"] for row in awb.summary(model))
    assert params == sum(p.numel() for p in awb.awb_parameters(model))
