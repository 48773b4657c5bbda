"""`--weights FILE`: a backbone begins with all of a file's weights but the classifier's, or the file is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn

from awb import AWBError
from examples.chestxray14.__main__ import main
from examples.chestxray14.files.checksums import file_digest
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.networks import build_model
from tests.chestxray14.small_runs import SMALL

State = dict[str, Tensor]
WRITERS: dict[str, Callable[[State, Path], Any]] = {
    "weights.safetensors": safetensors.torch.save_file,
    "weights.pth": torch.save,
    "inside.pt": lambda state, path: torch.save({"state_dict": state, "epoch": 3}, path),
    "model.pt": lambda state, path: torch.save({"model": state}, path),
    "parallel.pth": lambda state, path: torch.save({f"module.{name}": t for name, t in state.items()}, path),
}


def state_of(name: str = "test_resnet", num_classes: int = 7) -> State:
    """Weights of a network of timm, as trained elsewhere: none is a seed's."""
    state = timm.create_model(name, num_classes=num_classes).state_dict()
    return {key: tensor + 1 if tensor.is_floating_point() else tensor for key, tensor in state.items()}


def load(path: Path, backbone: str = "timm:test_resnet", size: int = 64, **changes: Any) -> nn.Module:
    values = {"model.backbone": backbone, "model.pretrained": True, "data.image_size": size}
    recipe = find_recipe("demo-plain", values | {f"model.{key}": value for key, value in changes.items()})
    return build_model(recipe.model, 5, size, 0, weights=path)


@pytest.mark.parametrize("file", WRITERS)
def test_a_backbone_begins_with_a_files_weights(file: str, tmp_path: Path) -> None:
    expected = state_of()
    WRITERS[file](expected, tmp_path / file)
    found = load(tmp_path / file).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items() if not name.startswith("fc."))
    assert found["fc.weight"].shape == (5, 96)


def test_position_embeddings_of_another_image_size_are_resampled_by_timm(tmp_path: Path) -> None:
    state = timm.create_model("test_vit", img_size=96).state_dict()
    torch.save(state, tmp_path / "vit.pth")
    found = load(tmp_path / "vit.pth", "timm:test_vit", 64).state_dict()
    assert found["pos_embed"].shape == (1, 17, 64)
    assert torch.equal(found["blocks.0.attn.qkv.weight"], state["blocks.0.attn.qkv.weight"])


def test_torchvisions_file_of_densenet_has_older_names(tmp_path: Path) -> None:
    """As `densenet121-a639ec97.pth` has: norm.1, conv.2."""
    state = torchvision.models.densenet121().state_dict()
    old = {name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor for name, tensor in state.items()}
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "densenet.pth")
    found = load(tmp_path / "densenet.pth", "densenet121", 32).state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state if not name.startswith("classifier"))


def of_another_network(path: Path) -> None:
    torch.save(state_of("test_convnext"), path)


def misspelt(path: Path) -> None:
    state = state_of()
    state["conv1.0.wieght"] = state.pop("conv1.0.weight")
    torch.save(state, path)


def wider(path: Path) -> None:
    state = state_of()
    state["layer1.0.conv1.weight"] = torch.zeros(99, 2)
    torch.save(state, path)


def cut(path: Path) -> None:
    torch.save(state_of(), path)
    path.write_bytes(path.read_bytes()[:5000])


def of_objects(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)


def no_state(path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.5}, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (of_another_network, "is not of timm:test_resnet: missing conv1.0.weight, .* unknown stem.0.weight"),
        (misspelt, "missing conv1.0.weight; unknown conv1.0.wieght; did you mean 'conv1.0.weight'"),
        (wider, r"layer1.0.conv1.weight is \(99, 2\), not"),
        (cut, "is damaged, or neither a safetensors file nor"),
        (of_objects, "is damaged, or neither a safetensors file nor"),
        (no_state, "has no state dict, by itself or under state_dict or model: it has epoch, loss"),
        (lambda path: path.write_bytes(b""), "is damaged, or neither"),
        (lambda path: None, "no such file"),
    ],
)  # fmt: skip
def test_other_files_are_one_sentence(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write(tmp_path / "weights.pth")
    with pytest.raises(AWBError, match=message) as caught:
        load(tmp_path / "weights.pth")
    assert str(tmp_path / "weights.pth") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_without_pretrained_weights_takes_none(tmp_path: Path) -> None:
    torch.save(state_of(), tmp_path / "weights.pth")
    with pytest.raises(AWBError, match=r"set model\.pretrained: true"):
        load(tmp_path / "weights.pth", pretrained=False)


def test_a_run_is_of_its_file(phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.pth"
    safetensors.torch.save_file(state_of(), ours)
    torch.save(state_of(), theirs)
    values = SMALL | {"model.backbone": "timm:test_resnet", "stages.*.epochs": 1}
    changes = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    words = ["--data", str(phantoms / "data"), "--store", str(phantoms / "store"), *changes]
    run = tmp_path / "run"
    assert main(["train", "demo-plain", str(run), *words, "--weights", str(ours)]) == 0
    assert "overrides what the pretrained weights of timm:test_resnet were trained with" in capsys.readouterr().out
    assert RunFolder(run).read_info()["identity"]["weights"] == file_digest(ours)
    assert "weights" not in RunFolder(run).read_recipe().model.model_dump(exclude_defaults=True)
    assert "overrides what the pretrained" in RunFolder(run).card.read_text()
    assert main(["train", "demo-plain", str(run), *words, "--weights", str(theirs)]) == 2
    assert "is of another run (weights was" in capsys.readouterr().err
    assert main(["evaluate", str(run), *words[:4], "--replicates", "40"]) == 0


def test_reproduce_takes_a_file_for_each_backbone(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", str(tmp_path / "out"), "--data", str(phantoms / "data"), "--store", str(phantoms / "store")]
    words += ["--cells", "demo-plain", "--weights"]
    assert main([*words, f"efficientnet={tmp_path}"]) == 2
    assert "no file" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([*words, f"efficientnet_lite={tmp_path / 'file'}"]) == 2
    assert "efficientnet_lite is no cell's; did you mean 'efficientnet_lite0'?" in capsys.readouterr().err
    assert main([*words, "file"]) == 2
    assert "expected BACKBONE=FILE" in capsys.readouterr().err
