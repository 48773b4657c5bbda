"""Layer-wise decay of learning rates: the backbone's layers by depth, blocks and head at their own rate."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

import awb


def rates(model: nn.Module, **options: Any) -> dict[str, float]:
    groups = awb.param_groups(model, lr=1.0, backbone_lr=0.5, weight_decay=0.1, **options)
    by_id = {id(p): group["lr"] for group in groups for p in group["params"]}
    names = dict(model.named_parameters())
    assert sorted(by_id) == sorted(id(p) for p in names.values())
    return {name: by_id[id(p)] for name, p in names.items()}


def test_blocks_learn_at_their_own_rate_wherever_they_sit() -> None:
    model = awb.attach_awb(timm.create_model("resnet18", num_classes=3), [1, 4])
    by_timm = [
        group["lr_scale"]
        for group in param_groups_layer_decay(model, layer_decay=0.7)
        if any(p is q for p in group["params"] for q in awb.awb_blocks(model)["layer1.1.awb"].parameters())
    ]
    assert max(by_timm) < 0.1  # what the option is for
    found = rates(model, layer_decay=0.7)
    assert {rate for name, rate in found.items() if ".awb." in name or name.startswith("fc.")} == {1.0}
    assert found["layer4.1.conv2.weight"] == 0.5
    assert found["layer4.0.conv1.weight"] == pytest.approx(0.5 * 0.7)
    assert found["layer1.1.conv1.weight"] == pytest.approx(0.5 * 0.7**6)
    assert found["conv1.weight"] == found["bn1.weight"] == pytest.approx(0.5 * 0.7**8)


def test_without_blocks_the_rates_are_timms() -> None:
    for name in ("test_vit", "test_convnext"):
        model = timm.create_model(name, num_classes=3)
        found = awb.param_groups(model, lr=1.0, backbone_lr=0.8, weight_decay=0.1, layer_decay=0.8)
        theirs = param_groups_layer_decay(model, layer_decay=0.8)
        ours_by_id = {id(p): group["lr"] for group in found for p in group["params"]}
        for group in theirs:
            for parameter in group["params"]:
                if parameter.ndim > 1:  # a norm before the classifier is the head's for timm
                    assert ours_by_id[id(parameter)] == pytest.approx(group["lr_scale"])


LAYERS = {
    "resnet18": [
        "conv1",
        "layer1.0",
        "layer1.1",
        "layer2.0",
        "layer2.1",
        "layer3.0",
        "layer3.1",
        "layer4.0",
        "layer4.1",
    ],
    "vgg11": [f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)],
    "vit_b_16": ["conv_proj", *(f"encoder.layers.encoder_layer_{i}" for i in range(12))],
    "mobilenet_v3_small": [f"features.{i}" for i in range(13)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_torchvisions_networks(name: str) -> None:
    with torch.device("meta"):
        found = rates(torchvision.models.get_model(name, weights=None), layer_decay=0.5)
    layers = LAYERS[name]
    for number, layer in enumerate(layers):
        expected = 0.5 * 0.5 ** (len(layers) - 1 - number)
        assert {rate for path, rate in found.items() if path.startswith(f"{layer}.")} == {expected}, layer
    if name == "vit_b_16":
        assert found["class_token"] == found["encoder.pos_embedding"] == found["conv_proj.weight"]
        assert found["encoder.ln.weight"] == 0.5


class Around(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.backbone = inside

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x)


@pytest.mark.parametrize("wrap", [Around, nn.DataParallel, torch.compile])
def test_wrapped_models_have_the_same_layers(wrap: Any) -> None:
    model = timm.create_model("test_vit", num_classes=3)
    expected = rates(model, layer_decay=0.6)
    assert list(rates(wrap(model), layer_decay=0.6).values()) == list(expected.values())


def test_hugging_faces_layers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8
    )
    found = rates(transformers.ViTForImageClassification(config), layer_decay=0.5)
    numbered = {path.split(".")[-1 - path.split(".")[::-1].index(part)]: rate for path, rate in found.items()
                for part in path.split(".") if part.isdigit()}  # fmt: skip
    assert numbered == {"0": 0.125, "1": 0.25, "2": 0.5}
    assert {rate for path, rate in found.items() if "embeddings" in path} == {0.0625}


def test_no_decay_is_the_default_and_a_factor_is_wanted() -> None:
    model = timm.create_model("test_resnet", num_classes=3)
    assert rates(model) == rates(model, layer_decay=1.0)
    assert set(rates(model).values()) == {0.5, 1.0}
    for wrong in (0, 1.5, "0.75", -1, None):
        with pytest.raises(awb.AWBError, match=r"layer_decay=.*expected a factor"):
            rates(model, layer_decay=wrong)
