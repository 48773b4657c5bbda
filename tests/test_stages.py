"""Finding and selecting stages leaves the model alone and is right where networks are odd."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.models.naflexvit import NaFlexVit, NaFlexVitCfg
from torch import Tensor, nn

import awb
from awb.stages.example_inputs import default_size, trace_model
from awb.stages.homes import find_homes
from tests.helpers import assert_same, snapshot

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("convnext_atto", "regnety_002", "efficientnet_b0")]


def vit(**kwargs: Any) -> nn.Module:
    return timm.create_model("test_vit", pretrained=False, **kwargs).eval()


def test_a_residual_added_in_place_is_part_of_the_stage() -> None:
    """torchvision's MBConv does `result += input`: the site is after the sum, not the branch's last child."""
    model = torchvision.models.efficientnet_b0(weights=None)
    stage = awb.find_stages(model)[2]
    assert stage.sites[0].module == "features.3.1"


@pytest.mark.parametrize("name", ["resnet18", "test_vit", *SLOW])
def test_sites_run_once_in_every_mode(name: str) -> None:
    model = timm.create_model(name, pretrained=False)
    traced = trace_model(model, 64 if name != "test_vit" else None)
    assert set(traced.counts) == {"forward", "training", "forward_intermediates", "gradient checkpointing"}
    for stage in awb.find_stages(model, input_size=traced.input_size):
        assert not traced.times_called(stage.sites[0].module)


def test_timm_resnet_site_is_the_last_block_not_the_container() -> None:
    model = timm.create_model("resnet18", pretrained=False)
    assert [stage.sites[0].module for stage in awb.find_stages(model)] == [f"layer{i}.1" for i in range(1, 5)]


class IteratesChildren(nn.Module):
    """A stage like timm's RegNet's: what is added to it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(4, 4, 1)
        self.b = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        for child in self.children():
            x = child(x)
        return x * 2


def test_home_is_never_run_as_a_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), IteratesChildren(), nn.Flatten())
    traced = trace_model(model, 8)
    assert find_homes(traced, ["0", "1"], "awb") == {"0": "0", "1": "1.b"}
    model.eval()
    images = torch.randn(2, 3, 8, 8)
    expected = model(images)
    awb.attach_awb(model, ["1"], input_size=8)
    assert torch.equal(model(images), expected)
    with torch.no_grad():
        awb.awb_blocks(model)["1.b.awb"].attention.pointwise.bias.fill_(3.0)
    assert torch.allclose(model(images), 3 * expected)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x))


def test_module_called_twice_is_refused() -> None:
    with pytest.raises(awb.AWBError, match="'conv' is called 2 times in forward"):
        awb.attach_awb(Twice(), ["conv"], input_size=8)


def test_module_that_only_evaluation_calls_is_refused() -> None:
    class Refining(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.refine = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.body(x)
            return x.mean((2, 3)) if self.training else self.refine(x).mean((2, 3))

    with pytest.raises(awb.AWBError, match="'refine' is called 0 times in training; a block goes after a module that"):
        awb.plan_awb(Refining(), "refine", input_size=32)
    assert len(awb.plan_awb(Refining(), "body", input_size=32).blocks) == 1


def test_a_video_model_and_one_without_images() -> None:
    class OfFrames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 8, 3, stride=2, padding=1)

        def forward(self, video: Tensor) -> Tensor:
            return self.body(video.flatten(0, 1)).mean((2, 3))

    (block,) = awb.plan_awb(OfFrames(), "body", example_input=torch.randn(1, 4, 3, 32, 24)).blocks
    assert (block.site.layout, block.site.grid, block.reduction) == ("NCHW", (16, 12), 2)
    (block,) = awb.plan_awb(OfFrames(), "body", example_input=torch.randn(1, 4, 3, 16, 16)).blocks
    assert (block.site.layout, block.site.grid) == ("NCHW", (8, 8))  # as many channels as rows and columns
    with pytest.raises(awb.AWBError, match="no input is an image: a block needs a 2-D map"):
        awb.plan_awb(nn.Sequential(nn.Conv1d(3, 8, 3)), "0", example_input=torch.randn(2, 3, 16))


def test_module_never_called_is_refused() -> None:
    model = torchvision.models.resnet18(weights=None)
    model.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(awb.AWBError, match="'spare' is not called"):
        awb.attach_awb(model, ["spare"])


def test_output_that_is_no_map_is_refused() -> None:
    with pytest.raises(awb.AWBError, match=r"'fc' returns \(2, 1000\)"):
        awb.attach_awb(torchvision.models.resnet18(weights=None), ["fc"])


@pytest.mark.parametrize(
    ("selector", "numbers"),
    [
        (3, [3]),
        (-1, [4]),
        ([1, -1], [1, 4]),
        ([4, 1, 4], [1, 4]),
        ("all", [1, 2, 3, 4]),
        ("last", [4]),
        ("last:2", [3, 4]),
        ("layer2", [2]),
        ("layer3.1", [3]),
        ("layer[34]", [3, 4]),
        ("layer[2-4]", [2, 3, 4]),
        ("layer[!3]", [1, 2, 4]),
        ("layer[^12]", [3, 4]),
        ("layer[34].1", [3, 4]),
        ("layer[1][.]1", None),  # a dot is matched by name only
        ("layer[4-3]", None),
        ("layer[]", None),
        (["layer?", 1], [1, 2, 3, 4]),
        ("layer4.*", [None, 4]),
    ],
)
def test_selectors(selector: Any, numbers: list[int | None] | None) -> None:
    model = torchvision.models.resnet18(weights=None)
    if numbers is None:
        with pytest.raises(awb.AWBError, match="no module matches"):
            awb.plan_awb(model, selector)
        return
    plan = awb.plan_awb(model, selector)
    assert sorted((b.stage for b in plan.blocks), key=lambda n: n or 0) == sorted(numbers, key=lambda n: n or 0)


def test_stage_objects_may_be_edited_and_passed_back() -> None:
    model = torchvision.models.resnet18(weights=None)
    stage = awb.find_stages(model)[1]
    (block,) = awb.plan_awb(model, [stage]).blocks
    assert (block.stage, block.site) == (2, stage.sites[0])


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (5, "no stage 5: ResNet has stages 1-4: layer1, layer2, layer3, layer4"),
        (0, "no stage 0"),
        (-5, "no stage -5"),
        ("last:9", "4 live stages"),
        ("layer5", "did you mean 'layer"),
        ("3", "did you mean the int 3"),
        ("-1", "did you mean the int -1"),
        ("3,4", r"did you mean several, \[3, 4\]"),
        ("layer3, -1", r"did you mean several, \['layer3', -1\]"),
        ("2-4", r"did you mean several, \[2, 3, 4\]"),
        ("layer4[0]", "if 'layer4' returns several maps, pass a Stage"),
        ("lsat", "did you mean 'last'"),
        (True, "True is a bool"),
        (2.0, "2.0 is a float"),
        ([], "stages is empty"),
    ],
)
def test_bad_selectors_are_named(selector: Any, message: str) -> None:
    model = torchvision.models.resnet18(weights=None)
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match=message):
        awb.attach_awb(model, [selector] if isinstance(selector, float) else selector)
    assert_same(before, snapshot(model))


def test_a_stage_written_by_hand_is_checked() -> None:
    """Whatever a Stage or Site says, the trace and the weights know better."""
    model = vit()
    dead = awb.find_stages(model)[-1]
    with pytest.raises(awb.AWBError, match="is dead"):
        awb.plan_awb(model, dataclasses.replace(dead, live=True))
    stage = awb.find_stages(model)[0]
    site = dataclasses.replace(stage.sites[0], grid=(site_length(stage), 1), num_prefix_tokens=0)
    with pytest.raises(awb.AWBError, match=r"1 prefix tokens and a \d+×\d+ grid, not 0 and"):
        awb.plan_awb(model, dataclasses.replace(stage, sites=(site,)))
    resnet = timm.create_model("test_resnet")
    side = awb.find_stages(resnet)[-1]
    turned = dataclasses.replace(side.sites[0], layout="NHWC", channels=side.sites[0].grid[1])
    with pytest.raises(awb.AWBError, match="which is NCHW, not NHWC"):
        awb.plan_awb(resnet, dataclasses.replace(side, sites=(turned,)))


def site_length(stage: awb.Stage) -> int:
    height, width = stage.sites[0].grid
    return height * width + stage.sites[0].num_prefix_tokens


@pytest.mark.parametrize(("size", "prefix"), [((224, 112), 5), ((112, 224), 5), ((64, 48), 5)])
def test_non_square_token_grids(size: tuple[int, int], prefix: int) -> None:
    """224×112 with a class token and four registers: 103 tokens whose grid no square root finds."""
    model = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=size, reg_tokens=4, depth=2, global_pool="avg"
    )
    (site, _) = (stage.sites[0] for stage in awb.find_stages(model))
    assert (site.grid, site.num_prefix_tokens) == ((size[0] // 16, size[1] // 16), prefix)


def test_prefix_tokens_may_differ_between_stages() -> None:
    model = timm.create_model("convit_tiny", pretrained=False)
    sites = [stage.sites[0] for stage in awb.find_stages(model)]
    assert [site.num_prefix_tokens for site in sites] == [0] * 10 + [1, 1]


def test_channels_equal_to_the_sides_of_the_map() -> None:
    """No shape says which axis is the channels; growing the input does."""

    class ChannelsLast(nn.Module):
        def __init__(self, last: bool) -> None:
            super().__init__()
            self.conv, self.tail, self.last = nn.Conv2d(3, 16, 1), nn.Identity(), last

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.tail(x.permute(0, 2, 3, 1) if self.last else x)

    for last, layout in ((True, "NHWC"), (False, "NCHW")):
        (block,) = awb.plan_awb(ChannelsLast(last), ["tail"], input_size=16).blocks
        assert block.site.layout == layout


def test_default_input_size_is_what_the_model_was_built_for() -> None:
    assert default_size(timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=(96, 64))) == (96, 64)
    assert default_size(torchvision.models.vit_b_16(weights=None, image_size=64)) == (64, 64)
    assert default_size(timm.create_model("test_resnet", pretrained=False)) == (160, 160)
    assert default_size(torchvision.models.resnet18(weights=None)) == (224, 224)


def test_grey_input_channels() -> None:
    model = timm.create_model("test_resnet", pretrained=False, in_chans=1)
    assert len(awb.find_stages(model)) == 4


def test_wrong_input_size_is_named() -> None:
    with pytest.raises(awb.AWBError, match="pass input_size"):
        awb.find_stages(vit(), input_size=100)
    with pytest.raises(awb.AWBError, match="expected a positive int"):
        awb.find_stages(vit(), input_size=-3)
    with pytest.raises(awb.AWBError, match="not both"):
        awb.find_stages(vit(), input_size=160, example_input=torch.zeros(1, 3, 160, 160))


def test_unknown_architecture_says_to_name_modules() -> None:
    with pytest.raises(awb.AWBError, match="no stages known for Twice"):
        awb.find_stages(Twice(), input_size=8)


def test_modules_proposed_for_an_unknown_architecture_take_blocks() -> None:
    """The last at each size of map."""
    layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 1), nn.Flatten()]
    flat = nn.Sequential(*layers, nn.Linear(64, 2))
    for model, paths in ((flat, ["1", "3"]), (nn.Sequential(nn.Sequential(flat)), ["0.0.1", "0.0.3"])):
        with pytest.raises(awb.AWBError, match=re.escape(f"e.g. from stages={paths}")):
            awb.find_stages(model, input_size=16)
        assert len(awb.plan_awb(model, paths, input_size=16).blocks) == 2


class Unfolding(nn.Module):
    """Cuts patches out; the embedding tells their grid, as timm's NaFlexViT and Hugging Face's Swin do."""

    class Embed(nn.Module):
        def __init__(self, told: Callable[[int, int], Any]) -> None:
            super().__init__()
            self.told, self.project = told, nn.Linear(3 * 64, 16)

        def forward(self, x: Tensor) -> Any:
            tokens = self.project(nn.functional.unfold(x, 8, stride=8).mT)
            return tokens, self.told(x.shape[2] // 8, x.shape[3] // 8)

    def __init__(self, told: Callable[[int, int], Any]) -> None:
        super().__init__()
        self.embed, self.layer = self.Embed(told), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.embed(x)[0]).mean(1)


@pytest.mark.parametrize("told", [lambda h, w: (h, w), lambda h, w: [h, w], lambda h, w: torch.Size((h, w))])
def test_a_pair_of_ints_beside_tokens_is_their_grid(told: Callable[[int, int], Any]) -> None:
    model = Unfolding(told).eval()
    (block,) = awb.plan_awb(model, "layer", input_size=(32, 64)).blocks
    assert (block.site.grid, block.grid_source) == ((4, 8), ("embed", 1))
    awb.attach_awb(model, "layer", input_size=(32, 64))
    seen = []
    awb.awb_blocks(model)["layer.awb"].attention.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[2:]))
    for size in ((32, 64), (64, 32), (48, 48)):
        model(torch.zeros(1, 3, *size))
    assert seen == [(4, 8), (8, 4), (6, 6)]


def test_naflexvit_runs_at_any_size() -> None:
    config = NaFlexVitCfg(patch_size=16, embed_dim=32, depth=2, num_heads=2, reg_tokens=4, global_pool="avg")
    model = awb.attach_awb(NaFlexVit(config, num_classes=2).eval(), "blocks.1", input_size=64)
    (block,) = awb.awb_blocks(model).values()
    assert (block.planned.grid_source, block.planned.site.num_prefix_tokens) == (("embeds", 1), 4)
    seen = []
    block.attention.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    for size in ((64, 64), (48, 96), (96, 48)):
        model(torch.zeros(1, 3, *size))
    assert seen == [(1, 32, 4, 4), (1, 32, 3, 6), (1, 32, 6, 3)]
    with pytest.raises(awb.AWBError, match="NaFlexEmbeds shows no token grid for this input"):
        model(torch.zeros(1, 4, 768), torch.zeros(1, 4, 2, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool))


@pytest.mark.parametrize("told", [lambda h, w: None, lambda h, w: (9, 9), lambda h, w: (float(h), float(w))])
def test_other_pairs_are_not(told: Callable[[int, int], Any]) -> None:
    with pytest.raises(awb.AWBError, match="no module before it returns a map"):
        awb.plan_awb(Unfolding(told), "layer", input_size=(32, 64))


def test_a_map_inside_other_objects_has_no_place() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
            return {"maps": [self.body(x)]}

    with pytest.raises(awb.AWBError, match=r"'0' returns \(2, 4, 8, 8\) inside other objects"):
        awb.plan_awb(nn.Sequential(Nested()), "0", input_size=8)
    assert len(awb.plan_awb(nn.Sequential(Nested()), "0.body", input_size=8).blocks) == 1


def test_example_inputs_for_models_that_take_no_single_image() -> None:
    class TwoInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, image: Tensor, scale: Tensor) -> Tensor:
            return self.conv(image) * scale

    example = (torch.zeros(1, 3, 8, 12), torch.ones(1))
    for inputs in (example, {"image": example[0], "scale": example[1]}):
        (block,) = awb.plan_awb(TwoInputs(), ["conv"], example_input=inputs).blocks
        assert block.site.channels == 8
        assert block.site.grid == (8, 12)


@pytest.mark.slow
def test_stages_of_an_attached_model_are_the_same() -> None:
    model = torchvision.models.densenet121(weights=None)
    before = awb.find_stages(model)
    awb.attach_awb(model, "all")
    assert awb.find_stages(model) == before
    assert awb.find_stages(copy.deepcopy(model)) == before


@pytest.mark.parametrize("selector", [3, "last", "all", "nowhere"])
def test_paths_to_choose_from_are_named_where_no_stages_are_known(selector: Any) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.LazyLinear(2)
    )
    model(torch.zeros(1, 3, 32, 32))
    with pytest.raises(
        awb.AWBError, match=r"no stages known for Sequential; name modules by path, e\.g\. \['1', '2', '3'\]"
    ):
        awb.plan_awb(model, selector, input_size=32)
    awb.attach_awb(model, ["1", "2", "3"], input_size=32)
