"""Families whose stages cannot be read off: where the blocks go, and that they work."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import awb
from tests.helpers import perturb
from tests.levels import slow_but

# name, image size, (site, channels, layout, prefix tokens) of the last live stage, live stages
ODD = [
    ("pit_ti_224", 224, ("transformers.1[0]", 128, "NCHW", 0), [1, 2]),
    ("crossvit_9_240", 240, ("blocks.1[0]", 128, "NLC", 1), [1, 2]),
    ("mvitv2_tiny", 224, ("stages.3[0]", 768, "NLC", 0), [1, 2, 3, 4]),
    ("hrnet_w18_small", 64, ("incre_modules.3.0", 1024, "NCHW", 0), [1, 2, 3, 4]),
    ("coat_lite_tiny", 224, ("serial_blocks3.1", 256, "NLC", 1), [1, 2, 3]),
    ("twins_pcpvt_small", 64, ("blocks.3.2", 512, "NLC", 0), [1, 2, 3, 4]),
    ("tresnet_m", 64, ("body.layer4.2", 2048, "NCHW", 0), [1, 2, 3, 4]),
    ("selecsls42", 64, ("head.3.2", 1280, "NCHW", 0), [1, 2, 3, 4, 5]),
    ("tnt_s_legacy_patch16_224", 224, ("blocks.10[1]", 384, "NLC", 1), list(range(1, 12))),
    ("efficientvim_m1", 224, ("stages.2.blocks.1[0]", 320, "NCHW", 0), [1, 2, 3]),
    ("hiera_tiny_224", 224, ("blocks.11", 768, "NLC", 0), [1, 2, 3, 4]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "last", "live"), ODD, ids=[row[0] for row in ODD])
def test_places_in_odd_families(name: str, size: int, last: tuple[str, int, str, int], live: list[int]) -> None:
    model = timm.create_model(name, pretrained=False, num_classes=5).eval()
    stages = [stage for stage in awb.find_stages(model, input_size=size) if stage.live]
    assert [stage.index for stage in stages] == live
    site = stages[-1].sites[0]
    assert (str(site), site.channels, site.layout, site.num_prefix_tokens) == last


def hiera() -> nn.Module:
    torch.manual_seed(5)
    return timm.create_model("hiera_tiny_224", pretrained=False).eval()


@pytest.mark.slow
def test_the_order_of_tokens_survives_a_file(tmp_path: Path) -> None:
    model = awb.attach_awb(hiera(), [3], init="default")
    awb.save_awb(model, tmp_path / "hiera.safetensors")
    loaded = awb.load_awb(hiera(), tmp_path / "hiera.safetensors")
    assert awb.awb_blocks(loaded)["blocks.9.awb"].planned == awb.awb_blocks(model)["blocks.9.awb"].planned


@pytest.mark.slow
def test_hieras_tokens_are_brought_into_raster_order() -> None:
    """What the attention sees is what the model's own `reroll` makes of the same tokens."""
    model = awb.attach_awb(hiera(), "all", init="default")
    tokens, maps = {}, {}
    for path, block in awb.awb_blocks(model).items():
        block.register_forward_pre_hook(lambda _, args, path=path: tokens.update({path: args[0]}))
        block.attention.register_forward_pre_hook(lambda _, args, path=path: maps.update({path: args[0]}))
    with torch.no_grad():
        model(torch.randn(1, 3, 224, 224))
    assert len(maps) == 4
    for path, seen in maps.items():
        rolled = model.reroll(tokens[path], int(path.split(".")[1]))
        assert torch.equal(seen, rolled.permute(0, 3, 1, 2))


FEATURES = [
    ("resnet18", "layer4.1"),  # FeatureListNet
    ("test_convnext", "stages_3"),  # flattened names, where feature_info says stages.3
    ("test_vit", "model.blocks.5"),  # FeatureGetterNet
    ("test_efficientnet", "blocks.4.0"),
    ("densenet121", "features_denseblock4"),
    ("xception41", "blocks_12"),  # FeatureHookNet
    ("hrnet_w18_small", "incre_modules.3.0"),
]


@pytest.mark.parametrize(("name", "last"), slow_but(FEATURES[:4], FEATURES))
def test_features_only_models(name: str, last: str) -> None:
    model = timm.create_model(name, pretrained=False, features_only=True).eval()
    size = 160 if name.startswith("test") else 96
    stage = awb.find_stages(model, input_size=size)[-1]
    assert (stage.sites[0].module, stage.live) == (last, True)
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        plain = model(images)
        awb.attach_awb(model, "last", input_size=size)
        assert all(torch.equal(a, b) for a, b in zip(model(images), plain, strict=True))
        perturb(model)
        changed = [not torch.equal(a, b) for a, b in zip(model(images), plain, strict=True)]
    assert changed[-1]
    assert not changed[0]


def test_features_that_are_not_returned_are_dead() -> None:
    model = timm.create_model("test_efficientnet", pretrained=False, features_only=True, out_indices=(1, 2))
    assert [stage.live for stage in awb.find_stages(model)] == [True, True, True, False, False]


def test_grey_images_can_be_profiled() -> None:
    table = awb.profile_placements(lambda: timm.create_model("test_resnet", in_chans=1), [None], 64)
    assert next(iter(table))["MACs"] > 0
