"""The networks that recipes name."""

import pytest
import torch
from torch import nn

import awb
from awb.study import freeze_parts
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.model_settings import ModelSettings
from examples.chestxray14.reproduction.published import TABLE_4
from examples.chestxray14.training.libraries import DenseNetWithoutFinalReLU
from examples.chestxray14.training.networks import build_model, freezable_parts
from tests.levels import slow_but


def settings(name: str, **changes: object) -> ModelSettings:
    return find_recipe(name, {f"model.{key}": value for key, value in changes.items()}).model


@pytest.mark.parametrize(
    ("name", "row"),
    slow_but(
        [("densenet121-last", 1)],
        [("densenet121-all", 0), ("densenet121-last", 1), ("densenet121-after", 2), ("vgg16_bn-all", 3),
         ("vgg16_bn-last", 4), ("vgg16_bn-after", 5)],
    ),
)  # fmt: skip
def test_the_placements_are_those_of_the_report(name: str, row: int) -> None:
    model = build_model(settings(f"{name}-lka-bce_focal", pretrained=False), 14, 224, 0)
    assert sum(p.numel() for p in model.parameters()) == TABLE_4[row].params


def test_without_the_final_relu_features_may_be_negative_and_all_else_is_densenet() -> None:
    model = build_model(settings("report-densenet121-last", pretrained=False), 14, 64, 0).eval()
    assert isinstance(model, DenseNetWithoutFinalReLU)
    seen = []
    model.classifier.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        logits = model(torch.randn(2, 3, 64, 64))
        expected = model.classifier(model.features(torch.randn(2, 3, 64, 64)).mean((2, 3)))
    assert logits.shape == expected.shape == (2, 14)
    assert (seen[0] < 0).any()


@pytest.mark.parametrize(
    "name", slow_but(["tiny"], ["tiny", "densenet121-last-cbam-bce_focal", "demo", "vgg16_bn-plain-bce"])
)
def test_the_backbone_is_all_but_blocks_and_classifier(name: str) -> None:
    model = build_model(settings(name, pretrained=False), 14, 64, 0)
    freeze_parts(model, freezable_parts(model), {"backbone"})
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    new = {id(p) for p in (*awb.awb_parameters(model), *model.get_submodule("classifier").parameters())}
    assert trained == {key for key, parameter in model.named_parameters() if id(parameter) in new}
    assert trained


def test_a_seed_gives_one_network_whatever_was_drawn_before() -> None:
    first = build_model(settings("tiny"), 3, 32, 5).state_dict()
    torch.randn(7)
    second = build_model(settings("tiny"), 3, 32, 5).state_dict()
    other = build_model(settings("tiny"), 3, 32, 6).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["classifier.1.weight"], other["classifier.1.weight"])


@pytest.mark.parametrize("plain", [False, True])
def test_a_dead_network_is_refused(plain: bool) -> None:
    changes = {"placement": "plain", "attention": None, "init": None} if plain else {}
    model = build_model(settings("tiny", **changes), 3, 32, 0)
    images = torch.randn(4, 3, 32, 32)
    assert awb.diagnose(model, images, raise_if_dead=True).rows
    last = model.get_submodule("layers.2.1")
    assert isinstance(last, nn.GroupNorm)
    nn.init.constant_(last.bias, -100.0)
    before = [module.training for module in model.modules()]
    with pytest.raises(awb.DeadNetworkError, match="the network is dead"):
        awb.diagnose(model, images, raise_if_dead=True)
    assert before == [module.training for module in model.modules()]
