"""Saving and loading: strict, and nothing half-loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import awb
from tests.helpers import assert_same, perturb, snapshot
from tests.levels import slow_but


def resnet(name: str = "test_resnet", **kwargs: Any) -> nn.Module:
    torch.manual_seed(7)
    return timm.create_model(name, pretrained=False, **kwargs).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 160, 160)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blocks.safetensors"


def trained(name: str = "test_resnet", stages: Any = (2, 4), **kwargs: Any) -> nn.Module:
    model = awb.attach_awb(resnet(name), list(stages), **kwargs)
    perturb(model)
    return model


@pytest.mark.parametrize("kind", slow_but(["lka"], ["lka", "cbam"]))
@pytest.mark.parametrize("name", slow_but(["test_vit"], ["test_resnet", "test_vit", "test_mambaout"]))
def test_round_trip(name: str, kind: str, images: Tensor, path: Path) -> None:
    model = trained(name, attention=kind)
    awb.save_awb(model, path)
    fresh = awb.load_awb(resnet(name), path)
    assert torch.equal(fresh(images), model(images))
    assert str(awb.summary(fresh)) == str(awb.summary(model))
    with torch.no_grad():
        for parameter in awb.awb_parameters(fresh):
            parameter.zero_()
    awb.load_awb(fresh, path)
    assert torch.equal(fresh(images), model(images))


@pytest.mark.slow
def test_mixed_kinds_and_options_round_trip(images: Tensor, path: Path) -> None:
    model = awb.attach_awb(resnet(), 1, attention="lka", kernel_size=3, dilation=2)
    awb.attach_awb(model, 4, attention="se", reduction=4)
    perturb(model)
    awb.save_awb(model, path)
    assert torch.equal(awb.load_awb(resnet(), path)(images), model(images))


def test_the_file_holds_the_blocks_and_no_more(path: Path) -> None:
    model = trained()
    awb.save_awb(model, path)
    assert load_file(path).keys() == awb.awb_state_dict(model).keys()
    assert all(".awb." in key for key in load_file(path))


def test_the_trained_classifier_comes_along(images: Tensor, path: Path) -> None:
    model = trained()
    with torch.no_grad():
        model.fc.weight.normal_()
    awb.save_awb(model, path, modules_to_save=["fc"])
    assert torch.equal(awb.load_awb(resnet(), path)(images), model(images))


@pytest.mark.slow
def test_another_size_of_the_same_backbone_reads_its_own_grid(path: Path) -> None:
    model = awb.attach_awb(resnet("test_vit"), 2)
    perturb(model)
    awb.save_awb(model, path)
    small = resnet("test_vit", img_size=96)
    backbone = {k: v for k, v in model.state_dict().items() if ".awb." not in k and k != "pos_embed"}
    assert small.load_state_dict(backbone, strict=False).missing_keys == ["pos_embed"]  # resized by who loads it
    awb.load_awb(small, path)
    assert awb.awb_blocks(small)["blocks.1.awb"].planned.site.grid == (6, 6)
    small(torch.randn(1, 3, 96, 96))


def refused(model: nn.Module, path: Path, message: str) -> None:
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match=message):
        awb.load_awb(model, path)
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(model))


def test_another_backbone_is_refused(path: Path) -> None:
    awb.save_awb(trained(), path)
    refused(torchvision.models.resnet18(weights=None), path, "holds blocks for a timm.ResNet; this model is a torchv")
    refused(resnet("resnet18"), path, "are of another network than this ResNet: this has no parameter of the shape")


def test_other_blocks_are_refused(path: Path) -> None:
    awb.save_awb(trained(), path)
    refused(trained(stages=[4]), path, r"only in the file \['layer2.0.awb")
    refused(trained(attention="se"), path, "only in the model .*se")


def rewrite(path: Path, change: Any) -> None:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize("attached", [True, False])
def test_keys_and_shapes_are_strict(attached: bool, path: Path) -> None:
    awb.save_awb(trained(), path)
    key = "layer4.0.awb.attention.pointwise.bias"

    def change(tensors: dict[str, Tensor]) -> None:
        tensors["layer4.0.awb.extra"] = tensors.pop(key)
        tensors["layer2.0.awb.attention.pointwise.bias"] = torch.zeros(3)

    rewrite(path, change)
    message = rf"nothing was loaded: missing: {key}; unexpected: layer4.0.awb.extra; .*has shape \(3,\) in the file"
    refused(trained() if attached else resnet(), path, message)


def test_files_of_others_are_refused(path: Path) -> None:
    save_file({"x": torch.zeros(1)}, path)
    refused(resnet(), path, "was not written by save_awb")
    path.write_text("hello")
    refused(resnet(), path, "is not a safetensors file")
    refused(resnet(), path.with_name("none"), "none cannot be read: No such file")
    refused(resnet(), path.parent, "is a folder")
    refused(resnet(), Path("/dev/null"), "/dev/null is something else than a file")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (["fcc"], "no module 'fcc'; did you mean 'fc'"),
        (["classifier"], r"no module 'classifier'; the classifier of this ResNet is \['fc'\]"),
        (["head"], r"the classifier of this ResNet is \['fc'\]"),
        ([""], "no module ''"),
        ("fc", "expected a list of module paths"),
    ],
)
def test_bad_modules_to_save(modules: Any, message: str, path: Path) -> None:
    with pytest.raises(awb.AWBError, match=message):
        awb.save_awb(trained(), path, modules_to_save=modules)
    assert not path.exists()


def test_modules_to_save_may_be_a_generator(path: Path) -> None:
    awb.save_awb(trained(), path, modules_to_save=(name for name in ["fc"]))
    assert "fc.weight" in load_file(path)


@pytest.mark.parametrize("wrong", [3, [3]])
def test_modules_to_save_must_be_paths(wrong: Any, path: Path) -> None:
    with pytest.raises(awb.AWBError, match="modules_to_save"):
        awb.save_awb(trained(), path, modules_to_save=wrong)


def test_modules_that_share_weights_are_both_saved(images: Tensor, path: Path) -> None:
    model = trained()
    model.layer1.tied = model.fc
    awb.save_awb(model, path, modules_to_save=["fc", "layer1"])
    saved = load_file(path)
    assert torch.equal(saved["fc.weight"], saved["layer1.tied.weight"])


@pytest.mark.parametrize("wrap", slow_but([nn.Sequential], [nn.DataParallel, torch.compile, nn.Sequential]))
def test_a_wrapper_saves_and_loads_what_the_model_inside_does(wrap: Any, images: Tensor, path: Path) -> None:
    model = trained()
    with torch.no_grad():
        model.fc.weight.normal_()
    awb.save_awb(wrap(model), path)
    assert load_file(path).keys() == awb.awb_state_dict(model).keys() | {"fc.weight", "fc.bias"}
    assert torch.equal(awb.load_awb(resnet(), path)(images), model(images))
    other = trained()
    awb.load_awb(wrap(other), path)
    assert torch.equal(other(images), model(images))


def test_token_models_with_a_spelled_out_stage_reload(path: Path) -> None:
    def tokens_only() -> nn.Module:
        torch.manual_seed(5)
        return nn.Sequential(nn.TransformerEncoderLayer(32, 2, 16, batch_first=True), nn.Linear(32, 4)).eval()

    tokens = torch.randn(2, 16, 32)
    site = awb.Site("0", None, 32, "NLC", (4, 4))
    model = awb.attach_awb(tokens_only(), awb.Stage(None, "0", 1, True, (site,)), example_input=tokens)
    perturb(model)
    awb.save_awb(model, path)
    assert torch.equal(awb.load_awb(tokens_only(), path, example_input=tokens)(tokens), model(tokens))
