"""Attachment under hostile but fair use: each test is a bug that was found once."""

from __future__ import annotations

import copy
import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import awb
from tests.helpers import assert_same, perturb, snapshot


def resnet() -> nn.Module:
    return timm.create_model("test_resnet", pretrained=False).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64)


def test_kinds_that_change_their_input_in_place_are_refused() -> None:
    @awb.register_attention("preactivation")
    def preactivation(channels: int) -> nn.Module:
        return nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1))

    with pytest.raises(awb.AWBError, match=r"changes its input in place; build it with inplace=False"):
        awb.attach_awb(resnet(), attention="preactivation")


def test_a_kind_that_is_the_identity_in_eval_mode_only_gets_a_scale() -> None:
    @awb.register_attention("dropping")
    def dropping(channels: int) -> nn.Module:
        return nn.Dropout(0.5)

    model = awb.attach_awb(resnet(), attention="dropping").train()
    (block,) = awb.awb_blocks(model).values()
    assert block.gamma is not None
    x = torch.randn(1, 96, 2, 2)
    assert torch.equal(block(x), x)


def test_kinds_whose_constructor_reads_values_can_be_planned() -> None:
    @awb.register_attention("rates")
    def rates(channels: int) -> nn.Module:
        return nn.Dropout(torch.linspace(0, 0.1, 3).tolist()[-1])

    awb.attach_awb(resnet(), attention="rates")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 100}, "is not NCHW with 100 channels"),
        ({"layout": "NHWC"}, "is not NHWC"),
        ({"layout": "XYZ"}, "is not XYZ"),
        ({"element": 1}, "has no element 1"),
        ({"module": "layer4.1.relu"}, r"'layer4\.1\.relu' is called 2 times in forward"),
        ({"module": ""}, "no module ''"),
        ({"module": "nowhere"}, "no module 'nowhere'"),
    ],
)
def test_edited_sites_are_checked(change: dict[str, Any], message: str) -> None:
    model = torchvision.models.resnet18(weights=None)
    stage = awb.find_stages(model)[3]
    edited = dataclasses.replace(stage, sites=(dataclasses.replace(stage.sites[0], **change),))
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match=message):
        awb.attach_awb(model, edited)
    assert_same(before, snapshot(model))


def test_a_stage_without_sites_is_refused() -> None:
    with pytest.raises(awb.AWBError, match="has no sites"):
        awb.attach_awb(resnet(), awb.Stage(1, "layer1", 4, True, ()))


def test_stages_found_at_another_size_take_the_size_they_are_attached_at() -> None:
    model = timm.create_model("test_vit", pretrained=False, dynamic_img_size=True).eval()
    stage = awb.find_stages(model, input_size=160)[0]
    awb.attach_awb(model, stage, input_size=96)
    model(torch.randn(1, 3, 96, 96))


def test_copies_taken_inside_a_context_are_not_inside_it(images: Tensor) -> None:
    model = awb.attach_awb(resnet(), 4)
    perturb(model)
    expected = model(images)
    with awb.awb_disabled(model), awb.capture_attention(model):
        duplicate = copy.deepcopy(model)
    assert torch.equal(duplicate(images), expected)
    assert all(block.captured is None for block in awb.awb_blocks(duplicate).values())


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("sizes", [((96, 96), (64, 64)), ((64, 96), (96, 64))])
def test_checkpointed_blocks_run_again_on_their_own_grid(sizes: Any, frozen: bool) -> None:
    """Two sizes before one backward: right where the number of tokens tells them apart, refused where not."""
    model = timm.create_model("test_vit", pretrained=False, dynamic_img_size=True, global_pool="avg")
    awb.attach_awb(model, "all")
    perturb(model)
    if frozen:
        awb.freeze_backbone(model)
    crops = [torch.randn(1, 3, *size) for size in sizes]

    def gradient() -> Tensor:
        model.zero_grad()
        torch.stack([model(crop).square().sum() for crop in crops]).sum().backward()
        return model.blocks[0].awb.attention.pointwise.weight.grad.clone()

    expected = gradient()
    model.set_grad_checkpointing(True)
    if sizes[0][0] != sizes[1][1]:
        assert torch.allclose(gradient(), expected, rtol=1e-4, atol=1e-5)
    else:
        with pytest.raises(awb.AWBError, match=r"run the backward pass of one size.* before the forward"):
            gradient()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # reentrant checkpoints under no_grad
@pytest.mark.parametrize(
    ("frozen", "reentrant"),
    [(False, False), (True, False), (False, True)],  # a reentrant one passes nothing back to behind frozen layers
)
def test_checkpointing_forgets_grids_whose_backward_is_done(
    frozen: bool, reentrant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation, and steps that are over, at a transposed size leave no doubt about the next step's grid."""
    monkeypatch.setattr(timm.layers.config, "_USE_REENTRANT_CKPT", reentrant)
    model = timm.create_model("test_vit", pretrained=False, dynamic_img_size=True)
    awb.attach_awb(model, "last:2")
    perturb(model)
    if frozen:  # no graph begins at the patch embedding
        awb.freeze_backbone(model)
    model.set_grad_checkpointing(True)
    wide, high = torch.randn(1, 3, 64, 96), torch.randn(1, 3, 96, 64)

    def gradient(images: Tensor) -> Tensor:
        model.zero_grad()
        model(images).square().sum().backward()
        return model.blocks[3].awb.attention.pointwise.weight.grad.clone()

    expected = gradient(wide)
    with torch.no_grad():
        model(high)
    assert torch.equal(gradient(wide), expected)
    with torch.no_grad():
        model(high)
    gradient(high)
    assert torch.equal(gradient(wide), expected)
    first, second = model(wide).square().sum(), model(wide).square().sum()
    del second  # and with it the later graph of this size, not the earlier
    other = model(high).square().sum()
    with pytest.raises(awb.AWBError, match="may be any of the grids"):
        first.backward()
    del other


def test_a_grid_that_no_module_shows_is_that_of_one_aspect_ratio() -> None:
    """Patches cut out by unfold: 64×64 and 32×128 pixels make as many tokens."""

    class Unfolding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.layer = nn.Linear(192, 16), nn.Linear(16, 16)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.layer(self.embed(nn.functional.unfold(pixels, 8, stride=8).mT)).mean(1)

    site = awb.Site("layer", None, channels=16, layout="NLC", grid=(8, 8))
    model = Unfolding()
    before = {name: dict(vars(module)["_forward_pre_hooks_with_kwargs"]) for name, module in model.named_modules()}
    awb.attach_awb(model, awb.Stage(None, "layer", 8, True, (site,)), input_size=64)
    for inputs in ((torch.zeros(1, 3, 32, 128),), {"pixels": torch.zeros(1, 3, 32, 128)}):
        with pytest.raises(awb.AWBError, match="it is that of 64×64 images, and this one is 32×128"):
            model(**inputs) if isinstance(inputs, dict) else model(*inputs)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 16)
    awb.detach_awb(model)
    assert {n: dict(vars(m)["_forward_pre_hooks_with_kwargs"]) for n, m in model.named_modules()} == before
    assert model(torch.zeros(1, 3, 32, 128)).shape == (1, 16)


def test_detaching_from_a_part_leaves_the_whole_to_say_so() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = resnet()

        def forward(self, x: Tensor) -> Tensor:
            return self.backbone(x)

    outer = awb.attach_awb(Around(), ["backbone.layer4"], input_size=64)
    before = resnet().state_dict().keys()
    assert awb.detach_awb(outer.backbone).state_dict().keys() == before
    with pytest.raises(awb.LostBlockError, match="rehook_awb"):
        outer(torch.randn(1, 3, 64, 64))
    awb.detach_awb(outer)(torch.randn(1, 3, 64, 64))


def test_attaching_leaves_cuda_seeds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    model = awb.attach_awb(timm.create_model("test_vit", pretrained=False), "all")
    awb.diagnose(model, torch.randn(1, 3, 160, 160))
    assert not seeded


def test_attaching_under_a_meta_default_device_makes_real_blocks() -> None:
    model = resnet()
    with torch.device("meta"):
        awb.attach_awb(model)
    assert not any(p.is_meta for p in awb.awb_parameters(model))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"stages": None}, "None is a NoneType; expected an int, a str, a Stage or a list of these"),
        ({"stages": 3.0}, "3.0 is a float"),
        ({"stages": "3"}, "did you mean the int 3"),
        ({"stages": "LAST"}, "did you mean 'last'"),
        ({"attention": None}, "attention=None: expected a name"),
        ({"attention": awb.LKA}, "its name is 'lka'"),
        ({"attention": "LKA"}, "did you mean 'lka'"),
        ({"input_size": 224.0}, "expected a positive int"),
        ({"input_size": True}, "expected a positive int"),
        ({"dilation": 0}, "dilation=0: expected a positive int"),
    ],
)
def test_wrong_types_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(awb.AWBError, match=message):
        awb.attach_awb(resnet(), **kwargs)


def test_numpy_integers_are_integers() -> None:
    plan = awb.plan_awb(resnet(), np.array([3, 4]), input_size=np.int64(64))  # type: ignore[arg-type]
    assert [block.stage for block in plan.blocks] == [3, 4]


@pytest.mark.parametrize(
    "function", [awb.find_stages, awb.summary, awb.detach_awb, awb.freeze_backbone, awb.attach_awb, awb.rehook_awb]
)
def test_what_is_no_model_is_named(function: Any) -> None:
    with pytest.raises(awb.AWBError, match=r"model is a str; expected a torch\.nn\.Module"):
        function("resnet18")


def test_a_model_that_cannot_be_copied_is_named() -> None:
    model = resnet()
    model.lock = threading.Lock()
    with pytest.raises(awb.AWBError, match="ResNet cannot be copied for tracing"):
        awb.attach_awb(model)


def test_a_module_under_two_names_is_known_by_one() -> None:
    model = timm.create_model("test_resnet")
    model.again = model.layer2
    with pytest.raises(awb.AWBError, match="'again' is the same module as 'layer2'"):
        awb.plan_awb(model, "again")


def test_saving_into_no_folder(tmp_path: Path) -> None:
    model = awb.attach_awb(timm.create_model("test_resnet"), "last")
    with pytest.raises(awb.AWBError, match="there is no folder"):
        awb.save_awb(model, tmp_path / "nowhere" / "blocks.safetensors")


def test_diagnosing_a_detector() -> None:
    """Its head gets a list of maps, and it returns a list of dictionaries."""
    from torchvision.models import detection

    model = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3, min_size=64)
    awb.attach_awb(model.backbone, "body.layer4", input_size=64)
    table = awb.diagnose(model.eval(), [torch.rand(3, 64, 80)])
    assert next(iter(table))["gradient norm"] > 0
