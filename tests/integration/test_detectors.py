"""Detectors, whose forward depends on values and whose parts run more than once: by module path."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torchvision.models import detection

import awb
from tests.helpers import assert_same, calibrate, perturb, snapshot
from tests.integration.test_other_models import assert_gradients, outputs, same


def fasterrcnn() -> nn.Module:
    size = {"min_size": 64, "max_size": 96}  # it resizes images
    return detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=3, **size)


def detector() -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    model = fasterrcnn().eval()
    calibrate(model.backbone, torch.randn(2, 3, 128, 128))
    return model, [torch.rand(3, 64, 64), torch.rand(3, 64, 80)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "stages", "blocks"),
    [
        ("backbone", ["body.6", "body.16"], ["backbone.body.6.awb", "backbone.body.16.2.awb"]),
        ("backbone.body", "16", ["backbone.body.16.2.awb"]),
        ("backbone", "fpn.layer_blocks.*", ["backbone.fpn.layer_blocks.0.0.awb", "backbone.fpn.layer_blocks.1.0.awb"]),
    ],
)
def test_detector(part: str, stages: Any, blocks: list[str]) -> None:
    model, images = detector()
    before, expected = snapshot(model), outputs(model, (images,))
    assert len(expected[0]) > 0  # some boxes

    awb.attach_awb(model.get_submodule(part), stages)
    assert list(awb.awb_blocks(model)) == blocks
    assert same(outputs(model, (images,)), expected)
    perturb(model)
    assert not same(outputs(model, (images,)), expected)

    model.train()
    model.backbone.eval()  # batch statistics stay
    box = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([1])}
    torch.stack([*model(images, [box, box]).values()]).sum().backward()
    assert_gradients(model)

    awb.detach_awb(model.eval())
    torch.set_rng_state(before["rng"])  # training a detector draws more: it samples boxes
    assert_same(before, snapshot(model))
    assert same(outputs(model, (images,)), expected)


@pytest.mark.slow
def test_one_of_several_maps() -> None:
    """A feature pyramid's level, named by a `Site`."""
    model, images = detector()
    expected = outputs(model, (images,))
    site = awb.Site("fpn", "0", channels=256, layout="NCHW", grid=(7, 7))
    awb.attach_awb(model.backbone, awb.Stage(None, "fpn", 32, True, (site,)))
    assert same(outputs(model, (images,)), expected)
    perturb(model)
    assert not same(outputs(model, (images,)), expected)


BOX = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([1])}


@pytest.mark.slow
def test_whole_detector() -> None:
    """It takes a list of images, of sizes that may differ, and its box head runs on what it finds."""
    model, images = detector()
    before, expected = snapshot(model), outputs(model, (images,))
    stages = ["backbone.body.6", "backbone.body.16", "backbone.fpn.layer_blocks.0"]
    sites = ["backbone.body.6", "backbone.body.16.2", "backbone.fpn.layer_blocks.0.0"]
    given: tuple[dict[str, Any], ...] = ({"example_input": (images,)}, {"input_size": 64})
    for size in given:
        plan = awb.plan_awb(model, stages, **size)
        assert_same(before, snapshot(model))
        assert [(str(block.site), block.site.layout) for block in plan.blocks] == [(site, "NCHW") for site in sites]

    awb.attach_awb(model, stages, **given[0])
    assert same(outputs(model, (images,)), expected)
    perturb(model)
    assert not same(outputs(model, (images,)), expected)
    model.train()
    model.backbone.eval()  # batch statistics stay
    torch.stack([*model(images, [BOX, BOX]).values()]).sum().backward()
    assert_gradients(model)
    awb.detach_awb(model.eval())
    torch.set_rng_state(before["rng"])  # training a detector draws more: it samples boxes
    assert_same(before, snapshot(model))


@pytest.mark.slow
def test_box_head_returns_no_map() -> None:
    model, images = detector()
    with pytest.raises(awb.AWBError, match=r"'roi_heads\.box_head' returns \(\d+, 1024\); a block needs"):
        awb.plan_awb(model, "roi_heads.box_head", example_input=(images,))


def detr() -> nn.Module:
    torch.manual_seed(0)
    resnet = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        backbone_config=resnet, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, num_queries=5,
    )  # fmt: skip
    return transformers.DetrForObjectDetection(config).eval()


DETR_SITES = ["model.backbone.model.encoder.stages.3", "model.encoder.layers.1"]


@pytest.mark.parametrize("site", DETR_SITES)
def test_detr(site: str) -> None:
    """`Tensor.item()` in its forward needs values."""
    model, example = detr(), {"pixel_values": torch.randn(2, 3, 128, 160)}
    before, expected = snapshot(model), outputs(model, example)
    awb.attach_awb(model, site, example_input=example)
    assert list(awb.awb_blocks(model)) == [f"{site}.awb"]
    assert same(outputs(model, example), expected)
    perturb(model)
    actual = outputs(model, example)
    assert not same(actual, expected)
    torch.stack([tensor.sum() for tensor in actual]).sum().backward()
    assert_gradients(model)
    awb.detach_awb(model)
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(model))


def test_detr_on_meta() -> None:
    for site in DETR_SITES:
        assert len(awb.plan_awb(detr().to("meta"), site, input_size=64).blocks) == 1


class Yolo(nn.Module):
    """Builds anchors when the map's size changes, as YOLO does, from a map of each of two levels; keeps some boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.detect = nn.Conv2d(8, 5, 1)  # runs on both levels
        self.shape: list[int] = []
        self.anchors = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        maps.append(self.down(maps[0]))
        levels = torch.cat([self.detect(level).flatten(2) for level in maps], 2)
        if self.shape != list(maps[0].shape):
            self.shape = list(maps[0].shape)
            self.anchors = torch.arange(levels.shape[2], dtype=levels.dtype, device=levels.device)
        scores = (levels[:, 4] + 0 * self.anchors).sigmoid().amax(0)
        kept = scores.topk(max(1, int((scores > 0.5).sum()))).indices
        return levels[:, :, kept]


def test_yolo_like() -> None:
    model = Yolo().eval()
    before = snapshot(model)
    plan = awb.plan_awb(model, ["stem", "down"], input_size=32)
    assert [block.path for block in plan.blocks] == ["stem.awb", "down.awb"]
    assert_same(before, snapshot(model))
    assert (model.shape, model.anchors.numel()) == ([], 0)
    with pytest.raises(awb.AWBError, match=r"'detect' is called 2 times in forward.*, and none after it does"):
        awb.plan_awb(model, "detect", input_size=32)


class Siamese(nn.Module):
    """Runs its encoder on two views."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 8, 3)
        self.project, self.fuse = nn.Conv2d(8, 8, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        views = [self.project(self.net(view)) for view in (x, x.flip(-1))]
        return self.fuse(torch.cat(views, 1)).mean((2, 3))


def test_advice_is_to_attach_to_what_runs_once() -> None:
    """What is named exists, and does."""

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts, self.head = nn.ModuleList([Net()]), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            part = self.parts[0]
            return self.head((part(x) + part(x.flip(-1))).mean((2, 3)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.tail = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.tail(self.body(x))

    advice = r"as it does in each run of 'parts\.0': attach_awb\(model\.get_submodule\('parts\.0'\), 'body', …\)"
    model = Around()
    with pytest.raises(awb.AWBError, match=r"'parts\.0\.body' is called 2 times in forward.* " + advice):
        awb.plan_awb(model, "parts.0.body", input_size=16)
    assert len(awb.plan_awb(model.get_submodule("parts.0"), "body", input_size=16).blocks) == 1
    with pytest.raises(awb.AWBError, match=r"'project' is called 2 times in .*: name one after it, e\.g\. 'fuse'"):
        awb.plan_awb(Siamese(), "project", input_size=16)
    assert len(awb.plan_awb(Siamese(), "fuse", input_size=16).blocks) == 1


def test_advice_for_a_forward_left_to_chance_names_a_part() -> None:
    class Lottery(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ModuleDict({"net": nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))})
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.inner["net"](x)
            return self.head(x.mean((2, 3)) if torch.rand(()) < 0.5 else x.amax((2, 3)))

    with pytest.raises(awb.AWBError, match=r"left to chance; .* e\.g\. attach_awb\(model\.inner\.net, …\)"):
        awb.plan_awb(Lottery(), "inner.net.0", input_size=8)
    assert len(awb.plan_awb(Lottery().inner.net, "0", input_size=8).blocks) == 1
