"""About forty networks of both libraries: numbering, identity, effect, gradient, detach."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

import awb
from awb.stages.example_inputs import Size
from tests.helpers import assert_same, calibrate, perturb, snapshot, wake_classifier

# name, arguments, input size, (channels, nominal reduction) of each stage
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

PAIRS: list[tuple[str, str, dict[str, Any], dict[str, Any], Size, list[tuple[int, int]]]] = [
    ("resnet18", "resnet18", {}, {}, 64, RESNET18),
    ("resnet50", "resnet50", {}, {}, 64, RESNET50),
    ("densenet121", "densenet121", {}, {}, 64, DENSENET),
    ("vgg11", "vgg11", {}, {}, 32, VGG),
    ("vgg11_bn", "vgg11_bn", {}, {}, 32, VGG),
    ("convnext_tiny", "convnext_tiny", {}, {}, 64, CONVNEXT),
    ("swin_t", "swin_tiny_patch4_window7_224", {}, {}, 224, CONVNEXT),
    ("vit_b_16", "vit_base_patch16_224", {"image_size": 64}, {"img_size": 64}, 64, VIT),
    ("mobilenet_v2", "mobilenetv2_100", {}, {}, 64, MOBILENET2),
    ("mobilenet_v3_large", "mobilenetv3_large_100", {}, {}, 64, MOBILENET3),
    ("mobilenet_v3_small", "mobilenetv3_small_100", {}, {}, 64, MOBILENET3_SMALL),
    ("efficientnet_b0", "efficientnet_b0", {}, {}, 64, EFFICIENTNET),
    ("efficientnet_v2_s", "tf_efficientnetv2_s", {}, {}, 64, EFFICIENTNET2),
    ("mnasnet1_0", "mnasnet_100", {}, {}, 64, MNASNET),
    ("regnet_y_400mf", "regnety_004", {}, {}, 64, REGNET),
    ("maxvit_t", "maxvit_tiny_tf_224", {}, {}, 224, MAXVIT),
    ("inception_v3", "inception_v3", {"init_weights": False}, {}, 139, INCEPTION),
]
TIMM_ONLY = timm.list_models("test_*")
TORCHVISION_ONLY = {
    "alexnet": ([(64, 4), (192, 8), (256, 16)], 64, {}),
    "squeezenet1_1": ([(128, 4), (256, 8), (512, 16)], 64, {}),
    "shufflenet_v2_x1_0": ([(116, 8), (232, 16), (464, 32)], 64, {}),
    "googlenet": ([(192, 4), (480, 8), (832, 16), (1024, 32)], 64, {"init_weights": False}),
}


def torchvision_model(name: str, **kwargs: Any) -> nn.Module:
    return torchvision.models.get_model(name, weights=None, num_classes=5, **kwargs).eval()


def timm_model(name: str, **kwargs: Any) -> nn.Module:
    return timm.create_model(name, pretrained=False, num_classes=5, **kwargs).eval()


def check_contract(model: nn.Module, size: int) -> None:
    """Attach at all live stages: identity, effect and gradient of each block, and back to what it was."""
    images = torch.randn(2, 3, size, size)
    wake_classifier(model)
    calibrate(model, torch.randn(8, 3, size, size))
    with torch.no_grad():
        plain = model(images)
    before = snapshot(model)
    awb.plan_awb(model, "all", input_size=size)
    assert_same(before, snapshot(model))

    awb.attach_awb(model, "all", input_size=size)
    keys = [key for key in model.state_dict() if ".awb." not in key]
    assert keys == list(before["state"])
    with torch.no_grad():
        assert torch.equal(model(images), plain)
    perturb(model)
    with torch.no_grad():
        changed = model(images)
        assert torch.isfinite(changed).all()
    for path, block in awb.awb_blocks(model).items():
        block.enabled = False
        with torch.no_grad():
            assert not torch.equal(model(images), changed), f"{path} has no effect"
        block.enabled = True
    model(images).square().sum().backward()
    for path, block in awb.awb_blocks(model).items():
        assert all(p.grad is not None and p.grad.any() for p in block.parameters()), f"{path} gets no gradient"
    model.zero_grad(set_to_none=True)
    awb.detach_awb(model)
    torch.set_rng_state(before["rng"])  # building blocks draws random numbers
    assert_same(before, snapshot(model))
    with torch.no_grad():
        assert torch.equal(model(images), plain)


def found(model: nn.Module, size: Size) -> list[tuple[int, int]]:
    stages = awb.find_stages(model, input_size=size)
    assert [stage.index for stage in stages] == list(range(1, len(stages) + 1))
    return [(stage.sites[0].channels, stage.reduction) for stage in stages]


@pytest.mark.parametrize(
    ("theirs", "ours", "kwargs", "timm_kwargs", "size", "stages"), PAIRS, ids=[pair[0] for pair in PAIRS]
)
def test_same_numbers_in_both_libraries(
    theirs: str,
    ours: str,
    kwargs: dict[str, Any],
    timm_kwargs: dict[str, Any],
    size: int,
    stages: list[tuple[int, int]],
) -> None:
    a, b = torchvision_model(theirs, **kwargs), timm_model(ours, **timm_kwargs)
    assert found(a, size) == found(b, size) == stages
    grids = [[stage.sites[0].grid for stage in awb.find_stages(m, input_size=size)] for m in (a, b)]
    assert grids[0] == grids[1]


HEAVY = {"vit_b_16", "maxvit_t", "swin_t", "inception_v3", "efficientnet_v2_s", "convnext_tiny"}
CONTRACT = [
    pytest.param(build, name, kw, size, id=f"{build.__name__[:-6]}-{name}", marks=[pytest.mark.slow] * (tv in HEAVY))
    for tv, tm, tv_kw, tm_kw, size, _ in PAIRS
    for build, name, kw in ((torchvision_model, tv, tv_kw), (timm_model, tm, tm_kw))
]


@pytest.mark.parametrize(("build", "name", "kwargs", "size"), CONTRACT)
def test_contract(build: Any, name: str, kwargs: dict[str, Any], size: int) -> None:
    check_contract(build(name, **kwargs), size)


@pytest.mark.parametrize("name", TORCHVISION_ONLY)
def test_contract_torchvision_only(name: str) -> None:
    stages, size, kwargs = TORCHVISION_ONLY[name]
    model = torchvision_model(name, **kwargs)
    assert found(model, 224) == stages
    check_contract(model, size)


@pytest.mark.parametrize("name", TIMM_ONLY)
def test_contract_timm_test_models(name: str) -> None:
    check_contract(timm_model(name), 160)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        (
            "densenet121",
            ["features.denseblock1", "features.denseblock2", "features.denseblock3", "features.denseblock4"],
        ),
        ("vgg16_bn", ["features.5", "features.12", "features.22", "features.32", "features.42"]),
        ("mobilenet_v3_large", ["features.1", "features.3", "features.6", "features.12", "features.16"]),
        ("efficientnet_b0", ["features.1", "features.2", "features.3", "features.5", "features.7"]),
        ("mobilenet_v2", ["features.1", "features.3", "features.6", "features.13", "features.17"]),
        ("mnasnet1_0", ["layers.7", "layers.8", "layers.9", "layers.11", "layers.13"]),
        ("regnet_y_400mf", [f"trunk_output.block{i}" for i in range(1, 5)]),
    ],
)
def test_places(name: str, places: list[str]) -> None:
    """Golden places, verified by tracing 49 networks of both libraries."""
    stages = awb.find_stages(torchvision_model(name))
    assert [stage.name for stage in stages] == places


@pytest.mark.parametrize(
    ("build", "name", "site"),
    [
        (torchvision_model, "densenet121", "features.norm5"),
        (timm_model, "densenet121", "features.norm5"),
        (torchvision_model, "vgg16_bn", "features.43"),
        (timm_model, "vgg16_bn", "features.43"),
        (timm_model, "efficientnet_b0", "bn2"),
        (torchvision_model, "resnet18", "layer4.1"),
        (timm_model, "resnet18", "layer4.1"),
        (timm_model, "convnext_atto", "stages.3"),
        (torchvision_model, "mobilenet_v3_small", "features.12.2"),
    ],
)
def test_after(build: Any, name: str, site: str) -> None:
    (block,) = awb.plan_awb(build(name), "after").blocks
    assert block.site.module == site
