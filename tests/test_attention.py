"""The attention kinds, their registry, maps and receptive fields."""

from __future__ import annotations

import math
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import awb


def test_lka_is_the_papers_formula() -> None:
    """Guo et al. 2023, equations 1–2, written out with functions."""
    lka = awb.LKA(6).double()
    x = torch.randn(2, 6, 17, 13, dtype=torch.float64)
    y = F.conv2d(x, lka.depthwise.weight, lka.depthwise.bias, padding=2, groups=6)
    y = F.conv2d(y, lka.dilated.weight, lka.dilated.bias, padding=9, dilation=3, groups=6)
    y = torch.einsum("oc,nchw->nohw", lka.pointwise.weight[:, :, 0, 0], y) + lka.pointwise.bias.view(-1, 1, 1)
    assert torch.allclose(lka(x), x * y, atol=1e-12)
    assert sum(p.numel() for p in lka.parameters()) == 6 * (25 + 49 + 6 + 3)


@settings(deadline=None, max_examples=15)
@given(k=st.sampled_from([1, 3, 5]), d=st.integers(1, 4), kd=st.sampled_from([3, 5, 7]))
def test_receptive_field_is_what_the_kernels_reach(k: int, d: int, kd: int) -> None:
    lka = awb.create_attention("lka", 2, kernel_size=k, dilated_kernel_size=kd, dilation=d)
    reach = k + (kd - 1) * d
    assert awb.receptive_field(lka) == (reach, reach)


def test_lka_sees_23_and_not_13() -> None:
    """The report says 13; the gradient of one output position says 23."""
    lka = awb.create_attention("lka", 3)
    x = torch.randn(1, 3, 41, 41, requires_grad=True)
    lka(x)[0, :, 20, 20].sum().backward()
    assert x.grad is not None
    rows = x.grad[0].abs().sum(0).sum(1).nonzero().flatten()
    assert (rows.min().item(), rows.max().item()) == (20 - 11, 20 + 11)
    assert awb.receptive_field(lka) == (23, 23)


def test_receptive_field_does_not_depend_on_the_weights() -> None:
    lka = awb.LKA(4)
    lka.reset_identity()
    assert awb.receptive_field(lka) == awb.receptive_field(awb.create_attention("van", 4)) == (23, 23)
    model = awb.attach_awb(torchvision.models.resnet18(weights=None), 1)
    assert awb.receptive_field(awb.awb_blocks(model)["layer1.1.awb"]) == (23, 23)


@pytest.mark.parametrize("kind", ["se", "timm_cbam", "gc"])
def test_pooling_makes_the_field_global(kind: str) -> None:
    assert awb.receptive_field(awb.create_attention(kind, 16), max_size=31) == (math.inf, math.inf)


def test_channels_that_cannot_be_read_off() -> None:
    with pytest.raises(awb.AWBError, match="pass channels="):
        awb.receptive_field(awb.create_attention("timm_eca", 16))
    assert awb.receptive_field(awb.create_attention("timm_eca", 16), channels=16) == (math.inf, math.inf)


def test_registry() -> None:
    names = awb.list_attention()
    assert {"lka", "van", "cbam", "se", "timm_se", "timm_gc"} <= set(names)
    assert not {"ge", "bottleneck", "halo", "bat", "sk"} & set(names)
    with pytest.raises(awb.AWBError, match="already registered"):
        awb.register_attention("lka")(nn.Identity)
    with pytest.raises(awb.AWBError, match="already registered"):
        awb.register_attention("ge")(nn.Identity)
    with pytest.raises(awb.AWBError, match="has no option 'rd_ration'; did you mean 'rd_ratio'"):
        awb.create_attention("timm_se", 8, rd_ration=0.5)
    with pytest.raises(awb.AWBError, match="has no option 'reduction'"):
        awb.create_attention("eca", 8, reduction=2)


@pytest.mark.parametrize("kind", ["se", "eca", "cbam", "coord", "lambda", "splat"])
def test_timm_kinds_are_timms(kind: str) -> None:
    from timm.layers import create_attn

    torch.manual_seed(1)
    ours = awb.create_attention(f"timm_{kind}", 32).eval()
    torch.manual_seed(1)
    theirs = create_attn(kind, 32).eval()
    x = torch.randn(2, 32, 9, 7)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("kind", ["lka", "van"])
def test_identity_is_exact(kind: str) -> None:
    block: Any = awb.create_attention(kind, 5)
    block.reset_identity()
    x = 100 * torch.randn(2, 5, 8, 9)
    assert torch.equal(block(x), x)


def test_captured_maps_are_what_multiplies_the_input() -> None:
    model = awb.attach_awb(torchvision.models.resnet18(weights=None).eval(), [3, 4], init="default")
    inputs: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}
    for stage, block in zip((3, 4), awb.awb_blocks(model).values(), strict=True):
        block.register_forward_pre_hook(lambda _, args, stage=stage: inputs.update({stage: args[0]}))
        block.register_forward_hook(lambda _, __, output, stage=stage: outputs.update({stage: output}))
    images = torch.randn(2, 3, 64, 64)
    with awb.capture_attention(model) as maps:
        model(images)
    assert list(maps) == [3, 4]
    for stage, attention in maps.items():
        assert torch.allclose(inputs[stage] * attention, outputs[stage], atol=1e-6)
    for reduce, function in {
        "mean": lambda m: m.mean(1),
        "abs_mean": lambda m: m.abs().mean(1),
        "norm": lambda m: m.square().sum(1).sqrt(),
    }.items():
        with awb.capture_attention(model, reduce) as reduced:
            model(images)
        assert torch.allclose(reduced[4], function(maps[4]), atol=1e-6)
        assert reduced[4].shape == (2, 2, 2)


def test_maps_are_one_at_identity_and_of_the_latest_pass() -> None:
    model = awb.attach_awb(timm.create_model("test_vit", pretrained=False).eval(), 2)
    with awb.capture_attention(model) as maps:
        with pytest.raises(awb.AWBError, match="no map at 2 yet"):
            maps[2]
        model(torch.randn(2, 3, 160, 160))
        model(torch.randn(1, 3, 160, 160))
    assert torch.equal(maps[2], torch.ones(1, 64, 10, 10))
    assert awb.awb_blocks(model)["blocks.1.awb"].captured is None


def test_kinds_without_a_map_say_which_have_one() -> None:
    model = awb.attach_awb(torchvision.models.resnet18(weights=None), attention="timm_se")
    with (
        pytest.raises(awb.AWBError, match=r"'timm_se' at layer4.1.awb has no attention_map; .*'lka', .*'van'"),
        awb.capture_attention(model),
    ):
        pass
    with pytest.raises(awb.AWBError, match="expected 'mean'"), awb.capture_attention(model, "max"):  # type: ignore[arg-type]
        pass


def test_a_child_named_attention_is_not_the_whole_block() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.wide = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 9, padding=4)

        def forward(self, x: Tensor) -> Tensor:
            return self.wide(self.attention(x))

    assert awb.receptive_field(Outer()) == (11, 11)
    conv = nn.Conv2d(2, 2, 3, padding=1)
    with torch.inference_mode():
        assert awb.receptive_field(conv) == (3, 3)


@pytest.mark.parametrize("name", [nn.Identity, "", None, 3])
def test_names_of_kinds_must_be_names(name: Any) -> None:
    with pytest.raises(awb.AWBError, match="expected a name"):
        awb.register_attention(name)


def test_channels_must_be_positive() -> None:
    with pytest.raises(awb.AWBError, match="channels=0"):
        awb.create_attention("lka", 0)


def test_capturing_in_train_mode_moves_nothing() -> None:
    @awb.register_attention("normalised_gate")
    class NormalisedGate(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm, self.drop = nn.BatchNorm2d(channels), nn.Dropout(0.5)

        def attention_map(self, x: Tensor) -> Tensor:
            return self.drop(self.norm(x))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.attention_map(x)

    model = awb.attach_awb(torchvision.models.resnet18(weights=None), 4, attention="normalised_gate").train()
    images = torch.randn(2, 3, 64, 64)
    torch.manual_seed(0)
    expected = model(images)
    torch.manual_seed(0)
    with awb.capture_attention(model):
        assert torch.equal(model(images), expected)
    (block,) = awb.awb_blocks(model).values()
    assert block.attention.norm.num_batches_tracked == 2
    assert block.attention.drop.training


def small_resnet() -> nn.Module:
    return timm.create_model("test_resnet", pretrained=False).eval()


def test_maps_of_mixed_kinds_name_the_blocks_without() -> None:
    model = awb.attach_awb(small_resnet(), {1: "van", 3: "timm_cbam", 4: "lka"})
    with awb.capture_attention(model) as maps:
        assert 4 in maps
        assert 3 not in maps
        model(torch.randn(2, 3, 64, 64))
    assert list(maps) == [1, 4]
    assert len(maps) == 2
    assert maps.without == {3: "timm_cbam"}
    for key, message in (
        (3, "attention 'timm_cbam' at 3 has no attention_map; those that have: .*'lka'"),
        (2, r"no block at 2: there are maps at 1, 4; blocks without a map: \{3: 'timm_cbam'\}"),
        ("layer4", "no block at 'layer4'"),
    ):
        assert maps.get(key) is None
        with pytest.raises(awb.AWBError, match=f"^{message}"):
            maps[key]
        with pytest.raises(KeyError):
            maps[key]


def test_maps_of_several_at_one_place_are_named_by_path() -> None:
    model = awb.attach_awb(small_resnet(), {3: "lka", 4: ["timm_cbam", "lka", "lka"]})
    with torch.no_grad():
        awb.awb_blocks(model)["layer4.0.awb3"].attention.pointwise.bias.fill_(2)
    with awb.capture_attention(model) as maps:
        model(torch.randn(2, 3, 64, 64))
    assert list(maps) == [3, "layer4.0.awb2", "layer4.0.awb3"]
    assert maps.without == {"layer4.0.awb": "timm_cbam"}
    assert maps["layer4.0.awb3"].eq(2).all()
    assert maps["layer4.0.awb2"].eq(1).all()


def test_maps_of_two_backbones_in_one_model() -> None:
    first, second = (awb.attach_awb(small_resnet(), 4) for _ in range(2))
    with awb.capture_attention(nn.ModuleList([first, second])) as maps:
        second(torch.randn(1, 3, 64, 64))
    assert list(maps) == ["0.layer4.0.awb", "1.layer4.0.awb"]
    assert maps["1.layer4.0.awb"].shape == (1, 96, 2, 2)
