"""`branches` names the ends of residual branches, in families that have them, and is refused in others."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

import awb
from awb.stages.example_inputs import default_size
from tests.contract import check_contract
from tests.helpers import assert_same, calibrate, fitting, snapshot
from tests.levels import slow_but

FAMILIES: dict[str, tuple[int, str]] = {  # number of branches, and the path of the last
    "timm:test_resnet": (4, "layer4.0.bn2"),
    "timm:test_convnext": (9, "stages.3.blocks.1.drop_path"),
    "timm:test_vit": (12, "blocks.5.mlp"),
    "timm:test_byobnet": (4, "stages.3.0.conv3_1x1"),  # activations inside norms, pooled shortcuts
    "timm:resnetv2_18d": (8, "stages.3.blocks.1.conv2"),
    "timm:skresnet18": (8, "layer4.1.conv2"),
    "timm:ghostnet_050": (16, "blocks.8.3.ghost2"),  # shortcuts of two convolutions
    "timm:focalnet_tiny_srf": (24, "layers.3.blocks.1.mlp"),  # sums inside its branches
    "timm:sam2_hiera_tiny": (24, "blocks.11.mlp"),
    "timm:test_mambaout": (6, "stages.3.blocks.0.ls"),
    "timm:regnety_002": (13, "s4.b7.conv3"),
    "timm:mobilenetv3_small_050": (7, "blocks.4.2.bn3"),
    "timm:resnet26d": (8, "layer4.1.bn3"),
    "timm:res2net50_14w_8s": (16, "layer4.2.bn3"),
    "timm:poolformer_s12": (24, "stages.3.blocks.1.layer_scale2"),
    "torchvision:mobilenet_v2": (10, "features.16.conv.3"),
    "torchvision:efficientnet_b0": (9, "features.6.3.block.3.1"),
    "torchvision:regnet_y_400mf": (16, "trunk_output.block4.block4-5.f.c.1"),
    "torchvision:convnext_tiny": (18, "features.7.2.stochastic_depth"),
    "torchvision:resnext50_32x4d": (16, "layer4.2.bn3"),
    "torchvision:swin_t": (24, "features.7.1.mlp.3"),
    "torchvision:swin_v2_t": (24, "features.7.1.norm2"),  # a position bias that does not come from the image
}


def build(name: str) -> nn.Module:
    library, _, architecture = name.partition(":")
    torch.manual_seed(0)
    if library == "timm":
        pool = {"global_pool": "avg"} if "vit" in architecture else {}  # else the last blocks' patch tokens are dead
        return timm.create_model(architecture, pretrained=False, **pool).eval()
    network: nn.Module = getattr(torchvision.models, architecture)(weights=None)
    return network.eval()


def places(model: nn.Module, selector: Any, **options: Any) -> list[str]:
    return [block.site.module for block in awb.plan_awb(model, selector, **options).blocks]


@pytest.mark.parametrize(("network", "norm"), [("resnet18", "bn2"), ("resnet50", "bn3")])
def test_in_a_resnet_they_are_the_last_norms(network: str, norm: str) -> None:
    model = build(f"torchvision:{network}")
    assert places(model, "branches") == places(model, f"layer*.*.{norm}")
    assert places(model, "branches:3-4") == places(model, f"layer[34].*.{norm}")
    assert places(model, "branches:2") == places(model, f"layer2.*.{norm}")
    mixed = places(model, {"branches:1": "se", 4: "lka"})
    assert mixed[1:] == places(model, f"layer1.*.{norm}")


@pytest.mark.parametrize("name", slow_but(["timm:test_resnet", "timm:test_vit", "timm:test_byobnet"], FAMILIES))
def test_every_family_has_its_branches(name: str) -> None:
    found = places(build(name), "branches", allow_dead=True)
    assert (len(found), found[-1]) == FAMILIES[name]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", slow_but(["timm:test_resnet", "timm:test_byobnet"], FAMILIES))
def test_in_every_family_blocks_start_as_the_identity_and_come_off_again(name: str) -> None:
    model = build(name)
    image = torch.rand(1, 3, *default_size(model))
    before = snapshot(model)
    with torch.no_grad():
        logits = model(image)
        awb.attach_awb(model, "branches", attention="se")
        assert len(awb.awb_blocks(model)) == FAMILIES[name][0]
        assert torch.equal(model(image), logits)
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(awb.detach_awb(model)))


def test_branches_whose_patch_tokens_nothing_reads_are_left_out_unless_their_stage_is_named() -> None:
    model = timm.create_model("test_vit", pretrained=False)
    assert places(model, "branches") == [f"blocks.{i}.{part}" for i in range(5) for part in ("attn", "mlp")]
    with pytest.raises(awb.AWBError, match=r"blocks\.5\.attn is dead"):
        awb.plan_awb(model, "branches:6")


@pytest.mark.parametrize(
    "name", slow_but(["timm:test_resnet", "timm:test_vit"], ["timm:test_resnet", "timm:test_vit", "timm:test_convnext",
                                                            "timm:mobilenetv3_small_050", "timm:regnety_002"])
)  # fmt: skip
def test_blocks_in_branches_keep_the_contract(name: str) -> None:
    model, images = build(name), torch.randn(2, 3, 96 if "vit" not in name else 160, 96 if "vit" not in name else 160)
    for name, parameter in model.named_parameters():
        if not parameter.any() and name.endswith("weight"):  # a branch that starts at zero passes no gradient
            nn.init.ones_(parameter)
    calibrate(model, images)
    check_contract(model, images, ["branches"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in fitting(64, 7) if not kind.startswith("timm_")])
def test_every_kind_starts_as_the_identity_in_branches(kind: str) -> None:
    model, images = build("timm:test_resnet"), torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = model(images)
        awb.attach_awb(model, "branches:2", attention=kind, input_size=224)
        assert torch.equal(model(images), expected)


def test_se_in_the_branches_of_a_resnet_50_is_timms_seresnet50() -> None:
    """The same parameters, and with their weights the same values."""
    theirs = timm.create_model("seresnet50", pretrained=False, zero_init_last=False).eval()
    ours = timm.create_model("resnet50", pretrained=False, zero_init_last=False).eval()
    awb.attach_awb(ours, "branches", attention="timm_se", init="default")
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    ours.load_state_dict(
        {key.replace(".se.", ".bn3.awb.attention."): value for key, value in theirs.state_dict().items()}
    )
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize(
    ("name", "selector", "message"),
    [
        ("torchvision:vgg11", "branches", "VGG adds no residual branch .* to a shortcut; choose stages, such as 'all'"),
        ("timm:test_resnet", "branches:5", "'branches:5': ResNet has stages 1-4, as in 'branches:1-4'"),
        ("timm:test_resnet", "branches:3-2", "'branches:3-2': ResNet has stages 1-4"),
        ("timm:test_resnet", "branches:0", "'branches:0': ResNet has stages 1-4"),
        ("timm:test_resnet", "branches:", "no module matches 'branches:'; did you mean 'branches'"),
        (
            "timm:swin_tiny_patch4_window7_224",
            "branches",
            "'branches': 'layers.1.blocks.0.mlp' returns 784 tokens .*; or choose stages, such as 'all'",
        ),
        ("timm:test_resnet", "branch", "no module matches 'branch'; did you mean 'branches'"),
    ],
)
def test_refusals_leave_no_trace(name: str, selector: str, message: str) -> None:
    model = build(name)
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match=message):
        awb.attach_awb(model, selector)
    assert_same(before, snapshot(model))


def test_a_branch_that_ends_in_a_function_is_refused() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.conv(x).relu()

    model = nn.Sequential(nn.Conv2d(3, 8, 1), Block())
    with pytest.raises(awb.AWBError, match="what 1 adds to its shortcut is made by a function"):
        awb.attach_awb(model, "branches", input_size=8)


def test_branches_of_stages_need_stages() -> None:
    class Block(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + super().forward(x)

    model = nn.Sequential(nn.Conv2d(3, 8, 1), Block(nn.Conv2d(8, 8, 3, padding=1)))
    with pytest.raises(awb.AWBError, match="'branches:1': no stages known for Sequential; 'branches' names all"):
        awb.attach_awb(model, "branches:1", input_size=8)
    assert places(model, "branches", input_size=8) == ["1.0"]


def test_a_sum_that_is_no_residual_is_left_alone() -> None:
    """Two layers added to each other are as deep as each other; a position is a parameter."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 3, padding=1)
            self.position = nn.Parameter(torch.zeros(1, 8, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(x) + self.b(x) + self.position

    with pytest.raises(awb.AWBError, match="adds no residual branch"):
        awb.attach_awb(Two(), "branches", input_size=8)
