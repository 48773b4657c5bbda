"""Networks of both libraries: the numbers and places of their stages, and what attaching promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import DenseNet, SwinTransformer

import awb
from awb.stages.example_inputs import Size
from tests.contract import check_contract
from tests.helpers import assert_same, calibrate, snapshot, wake_classifier
from tests.levels import slow_but

# (channels, nominal reduction) of each stage
RESNET18 = [(64, 4), (128, 8), (256, 16), (512, 32)]
RESNET50 = [(256, 4), (512, 8), (1024, 16), (2048, 32)]
DENSENET = [(256, 4), (512, 8), (1024, 16), (1024, 32)]
VGG = [(64, 1), (128, 2), (256, 4), (512, 8), (512, 16)]
CONVNEXT = [(96, 4), (192, 8), (384, 16), (768, 32)]
MOBILENET2 = [(16, 2), (24, 4), (32, 8), (96, 16), (320, 32)]
MOBILENET3 = [(16, 2), (24, 4), (40, 8), (112, 16), (960, 32)]
MOBILENET3_SMALL = [(16, 4), (24, 8), (48, 16), (576, 32)]
EFFICIENTNET = [(16, 2), (24, 4), (40, 8), (112, 16), (320, 32)]
EFFICIENTNET2 = [(24, 2), (48, 4), (64, 8), (160, 16), (256, 32)]
MNASNET = [(16, 2), (24, 4), (40, 8), (96, 16), (320, 32)]
REGNET = [(48, 4), (104, 8), (208, 16), (440, 32)]
MAXVIT = [(64, 4), (128, 8), (256, 16), (512, 32)]
INCEPTION = [(192, 4), (288, 8), (768, 16), (2048, 32)]
VIT = [(768, 16)] * 12

NUMBERS: dict[str, tuple[list[tuple[int, int]], Size, dict[str, Any]]] = {
    "resnet18": (RESNET18, 64, {}),
    "resnet50": (RESNET50, 64, {}),
    "densenet121": (DENSENET, 64, {}),
    "vgg11": (VGG, 32, {}),
    "vgg11_bn": (VGG, 32, {}),
    "convnext_tiny": (CONVNEXT, 64, {}),
    "swin_t": (CONVNEXT, 224, {}),
    "vit_b_16": (VIT, 64, {"image_size": 64}),
    "mobilenet_v2": (MOBILENET2, 64, {}),
    "mobilenet_v3_large": (MOBILENET3, 64, {}),
    "mobilenet_v3_small": (MOBILENET3_SMALL, 64, {}),
    "efficientnet_b0": (EFFICIENTNET, 64, {}),
    "efficientnet_v2_s": (EFFICIENTNET2, 64, {}),
    "mnasnet1_0": (MNASNET, 64, {}),
    "regnet_y_400mf": (REGNET, 64, {}),
    "maxvit_t": (MAXVIT, 224, {}),
    "inception_v3": (INCEPTION, 139, {"init_weights": False}),
    "alexnet": ([(64, 4), (192, 8), (256, 16)], 224, {}),
    "squeezenet1_1": ([(128, 4), (256, 8), (512, 16)], 224, {}),
    "shufflenet_v2_x1_0": ([(116, 8), (232, 16), (464, 32)], 224, {}),
    "googlenet": ([(192, 4), (480, 8), (832, 16), (1024, 32)], 224, {"init_weights": False}),
}


def torchvision_model(name: str, **kwargs: Any) -> nn.Module:
    return torchvision.models.get_model(name, weights=None, num_classes=5, **kwargs).eval()


def timm_model(name: str, **kwargs: Any) -> nn.Module:
    return timm.create_model(name, pretrained=False, num_classes=5, **kwargs).eval()


def found(model: nn.Module, size: Size) -> list[tuple[int, int]]:
    stages = awb.find_stages(model, input_size=size)
    assert [stage.index for stage in stages] == list(range(1, len(stages) + 1))
    return [(stage.sites[0].channels, stage.reduction) for stage in stages]


@pytest.mark.parametrize("name", slow_but(["resnet18", "convnext_tiny", "swin_t"], NUMBERS))
def test_numbers(name: str) -> None:
    """Golden numbers of torchvision's; `zoo/test_both_libraries` holds timm's to be the same."""
    stages, size, kwargs = NUMBERS[name]
    assert found(torchvision_model(name, **kwargs), size) == stages


# six kinds of backbone, some of them made small; `zoo/test_families` runs every family that the libraries have
CONTRACT: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet": (lambda: torchvision_model("resnet18"), 64),
    "densenet": (lambda: DenseNet(8, (1, 1, 1, 1), 16, num_classes=5).eval(), 64),
    "vgg": (lambda: timm_model("vgg11_bn", mlp_ratio=0.02), 32),
    "convnext": (lambda: timm_model("convnext_atto", depths=(1, 1, 2, 1)), 64),
    "swin": (
        lambda: SwinTransformer([4, 4], 24, [1, 1, 2, 1], [1, 2, 4, 8], window_size=[4, 4], num_classes=5).eval(),
        64,
    ),
    "vit": (lambda: timm_model("vit_tiny_patch16_224", img_size=64, depth=4), 64),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_contract(name: str) -> None:
    check_built(*CONTRACT[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", timm.list_models("test_*"))
def test_contract_of_timms_test_models(name: str) -> None:
    check_built(lambda: timm_model(name), 160)


def check_built(build: Callable[[], nn.Module], size: int) -> None:
    """The contract, and that a plan of all stages leaves no trace."""
    model = build()
    wake_classifier(model)
    calibrate(model, torch.randn(8, 3, size, size))
    before = snapshot(model)
    awb.plan_awb(model, "all", input_size=size)
    assert_same(before, snapshot(model))
    check_contract(model, torch.randn(2, 3, size, size))


PLACES = {
    "densenet121": ["features.denseblock1", "features.denseblock2", "features.denseblock3", "features.denseblock4"],
    "vgg16_bn": ["features.5", "features.12", "features.22", "features.32", "features.42"],
    "mobilenet_v3_large": ["features.1", "features.3", "features.6", "features.12", "features.16"],
    "efficientnet_b0": ["features.1", "features.2", "features.3", "features.5", "features.7"],
    "mobilenet_v2": ["features.1", "features.3", "features.6", "features.13", "features.17"],
    "mnasnet1_0": ["layers.7", "layers.8", "layers.9", "layers.11", "layers.13"],
    "regnet_y_400mf": [f"trunk_output.block{i}" for i in range(1, 5)],
}


@pytest.mark.parametrize("name", slow_but(["densenet121"], PLACES))
def test_places(name: str) -> None:
    """Golden places, verified by tracing 49 networks of both libraries."""
    assert [stage.name for stage in awb.find_stages(torchvision_model(name))] == PLACES[name]


AFTER = [
    (torchvision_model, "resnet18", "layer4.1"),
    (timm_model, "resnet18", "layer4.1"),
    (timm_model, "convnext_atto", "stages.3"),
    (torchvision_model, "mobilenet_v3_small", "features.12.2"),
    (torchvision_model, "densenet121", "features.norm5"),
    (timm_model, "densenet121", "features.norm5"),
    (torchvision_model, "vgg16_bn", "features.43"),
    (timm_model, "vgg16_bn", "features.43"),
    (timm_model, "efficientnet_b0", "bn2"),
]


@pytest.mark.parametrize(("build", "name", "site"), slow_but(AFTER[:3], AFTER))
def test_after(build: Any, name: str, site: str) -> None:
    (block,) = awb.plan_awb(build(name), "after").blocks
    assert block.site.module == site
