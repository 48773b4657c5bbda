"""The same int means the same place in torchvision's and timm's version of every network that both have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.regnet import BlockParams

import awb

SAME_NAME = (
    "resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 "
    "wide_resnet101_2 densenet121 densenet161 densenet169 densenet201 vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn "
    "vgg19 vgg19_bn convnext_tiny convnext_small convnext_base convnext_large inception_v3 efficientnet_b0 "
    "efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7"
)
OTHER_NAME = {
    "efficientnet_v2_s": "tf_efficientnetv2_s",
    "efficientnet_v2_m": "tf_efficientnetv2_m",
    "efficientnet_v2_l": "tf_efficientnetv2_l",
    "maxvit_t": "maxvit_tiny_tf_224",
    "mnasnet0_5": "mnasnet_050",
    "mnasnet0_75": "mnasnet_075",
    "mnasnet1_0": "mnasnet_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "swin_v2_s": "swinv2_small_window8_256",
    "swin_v2_b": "swinv2_base_window8_256",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
    "vit_l_32": "vit_large_patch32_224",
    "vit_h_14": "vit_huge_patch14_224",
    **{
        f"regnet_{kind}_{theirs}": f"regnet{kind}_{ours}"
        for kind in "xy"
        for theirs, ours in {
            "400mf": "004", "800mf": "008", "1_6gf": "016", "3_2gf": "032", "8gf": "080", "16gf": "160", "32gf": "320",
        }.items()
    },
    "regnet_x_400mf": "regnetx_004_tv",  # timm's own of that name has other widths, and so the next two
    "regnet_y_800mf": "regnety_008_tv",
    "regnet_y_8gf": "regnety_080_tv",
    "regnet_y_128gf": "regnety_1280",
}  # fmt: skip
ONLY_TORCHVISION = {
    "alexnet", "googlenet", "mnasnet1_3", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0", "squeezenet1_0", "squeezenet1_1",
}  # fmt: skip
PAIRS = {**{name: name for name in SAME_NAME.split()}, **OTHER_NAME}
QUICK = {"resnet18", "vgg11_bn"}
ONE_OF_EACH = {
    "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "vgg11", "convnext_tiny", "inception_v3",
    "efficientnet_b0", "efficientnet_v2_s", "maxvit_t", "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large",
    "mobilenet_v3_small", "swin_t", "swin_v2_t", "regnet_x_400mf", "regnet_y_400mf", "vit_b_16",
}  # fmt: skip
SIZES = {"swin": 256, "maxv": 224, "ince": 299, "vit_": 224}  # what both take; by default 64


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No weights; torchvision's RegNets compute their widths with tensors, which must have values."""
    params = BlockParams.from_init_params

    def with_values(*args: Any, **kwargs: Any) -> BlockParams:
        with torch.device("cpu"):
            return params(*args, **kwargs)

    monkeypatch.setattr(BlockParams, "from_init_params", with_values)
    with torch.device("meta"):
        yield


def test_every_network_of_torchvision_has_its_pair_or_none() -> None:
    names = set(torchvision.models.list_models(module=torchvision.models))
    assert names == set(PAIRS) | ONLY_TORCHVISION


def level(theirs: str) -> list[pytest.MarkDecorator]:
    """Two pairs are quick; one of each family, or of its versions, is slow; the rest are their larger ones."""
    return [] if theirs in QUICK else [pytest.mark.slow] if theirs in ONE_OF_EACH else [pytest.mark.rest]


@pytest.mark.parametrize(
    ("theirs", "ours"), [pytest.param(*pair, id=pair[0], marks=level(pair[0])) for pair in PAIRS.items()]
)
def test_the_same_int_is_the_same_place(theirs: str, ours: str, on_meta: None) -> None:
    size = 224 if theirs in ("swin_t", "swin_s", "swin_b") else SIZES.get(theirs[:4], 64)
    extra = {"init_weights": False} if theirs == "inception_v3" else {}
    a = torchvision.models.get_model(theirs, weights=None, **extra).eval()
    b = timm.create_model(ours).eval()
    assert places(a, size) == places(b, size)


def places(model: nn.Module, size: int) -> list[tuple[Any, ...]]:
    """Channels, reduction and grid of each stage, and how many norms (in a VGG without, convolutions) ran before it."""
    stages = awb.find_stages(model, input_size=size)
    ran, seen = [0], {}

    def count(*_: Any) -> None:
        ran[0] += 1

    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    for module in norms or [m for m in model.modules() if isinstance(m, nn.Conv2d)]:
        module.register_forward_hook(count)
    for stage in stages:
        (site,) = stage.sites
        model.get_submodule(site.module).register_forward_hook(lambda *_, i=stage.index: seen.update({i: ran[0]}))
    model(torch.empty(2, 3, size, size))
    return [(s.index, s.sites[0].channels, s.reduction, s.sites[0].grid, seen[s.index]) for s in stages]
