"""A blocks file knows the weights of its backbone: the same in any dtype, place or wrapper, and told from others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import awb
from tests.helpers import calibrate, perturb, snapshot
from tests.levels import slow_but
from tests.test_checkpoint import refused

SIZE = 64
HALVES = (torch.float16, torch.bfloat16)


def backbone(name: str = "test_resnet", seed: int = 7, **kwargs: Any) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name, num_classes=5, **kwargs).eval()


def saved(tmp_path: Path, model: nn.Module) -> Path:
    path = tmp_path / "blocks.safetensors"
    awb.attach_awb(model, "last", input_size=SIZE)
    perturb(model)
    awb.save_awb(model, path)
    return path


def load(model: nn.Module, path: Path, **kwargs: Any) -> nn.Module:
    return awb.load_awb(model, path, input_size=SIZE, **kwargs)


def rounded(dtype: torch.dtype) -> Callable[[nn.Module], nn.Module]:
    """Weights that were stored in a coarser dtype, in a float32 model."""
    return lambda model: model.to(dtype).float()


def with_a_compiled_layer(model: nn.Module) -> nn.Module:
    model.layer1 = torch.compile(model.layer1)  # type: ignore[assignment]
    return model


def with_lora(model: nn.Module) -> nn.Module:
    """What PEFT makes of a layer: a wrapper with the old one as `base_layer`, and new parameters."""
    model.layer1.base_layer, model.layer1.lora_A = copy.deepcopy(model.layer1), nn.Linear(2, 2)
    for name in [name for name, _ in model.layer1.named_children() if name not in ("base_layer", "lora_A")]:
        delattr(model.layer1, name)
    model.layer1.forward = model.layer1.base_layer.forward
    return model


def with_weight_norm(model: nn.Module) -> nn.Module:
    parametrizations.weight_norm(model.conv1[0])
    return model


def calibrated(model: nn.Module) -> nn.Module:
    calibrate(model, torch.randn(2, 3, SIZE, SIZE))
    return model


SAME: dict[str, Callable[[nn.Module], nn.Module]] = {
    "float64": lambda model: model.double(),
    "float16": lambda model: model.half(),
    "bfloat16": lambda model: model.bfloat16(),
    "rounded to float16": rounded(torch.float16),
    "rounded to bfloat16": rounded(torch.bfloat16),
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "another head": lambda model: awb.replace_head(model, 9),
    "other statistics": calibrated,
    "LoRA beside the weights": with_lora,
    "a parametrised layer": with_weight_norm,
}


@pytest.mark.parametrize("name", slow_but(["float16", "rounded to bfloat16", "LoRA beside the weights"], SAME))
@pytest.mark.parametrize("stored", slow_but([torch.float32], [torch.float32, *HALVES]))
def test_the_same_weights_in_another_shape(name: str, stored: torch.dtype, tmp_path: Path) -> None:
    path = saved(tmp_path, backbone().to(stored))
    load(SAME[name](backbone()), path)


@pytest.mark.slow
def test_a_layer_compiled_after_loading(tmp_path: Path) -> None:
    path = saved(tmp_path, backbone())
    load(with_a_compiled_layer(load(backbone(), path)), path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_families_in_every_dtype(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = saved(tmp_path, backbone(name, img_size=SIZE) if name == "test_vit" else backbone(name))
    load((backbone(name, img_size=SIZE) if name == "test_vit" else backbone(name)).to(dtype), path)


def finetuned(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.001 * torch.randn_like(parameter))
    return model


def decayed(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.999)
    return model


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "another seed": lambda: backbone(seed=8),
    "a little fine-tuned": lambda: finetuned(backbone()),
    "a little decayed": lambda: decayed(backbone()),
    "another seed in bfloat16": lambda: backbone(seed=8).bfloat16(),
    "another seed in float16": lambda: backbone(seed=8).half(),
}


@pytest.mark.parametrize("name", slow_but(["another seed", "a little decayed"], OTHERS))
def test_other_weights_are_refused_and_can_be_overruled(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, backbone())
    model = OTHERS[name]()
    refused(model, path, r"other weights than the backbone .* parameters differ: conv1.*allow_other_weights=True")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load(model, path, allow_other_weights=True)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_blocks_that_are_there_are_checked_too(tmp_path: Path) -> None:
    path = saved(tmp_path, backbone())
    refused(awb.attach_awb(backbone(seed=8), "last", input_size=SIZE), path, "other weights")


@pytest.mark.slow
@pytest.mark.parametrize("bare", [False, True])
def test_another_network_of_the_same_class(bare: bool, tmp_path: Path) -> None:
    path = saved(tmp_path, torchvision.models.resnet18(weights=None))
    if bare:
        without_fingerprint(path)
    message = "this is another torchvision.ResNet than the one whose blocks were saved: " if bare else "another network"
    refused(torchvision.models.resnet50(weights=None), path, message)


def without_fingerprint(path: Path) -> None:
    with safe_open(path, "pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "backbone_weights"}
    save_file(load_file(path), path, metadata)


def test_a_file_that_does_not_know_its_backbone_loads(tmp_path: Path) -> None:
    path = saved(tmp_path, backbone())
    without_fingerprint(path)
    load(backbone(seed=8), path)


def test_values_are_cast_to_the_models_dtype_if_they_fit(tmp_path: Path) -> None:
    model = backbone()
    path = saved(tmp_path, model)
    blocks: dict[str, Tensor] = awb.awb_state_dict(load(backbone().bfloat16(), path))
    assert all(torch.equal(value, awb.awb_state_dict(model)[key].bfloat16()) for key, value in blocks.items())
    with torch.no_grad():
        next(awb.awb_parameters(model)).fill_(1e6)
    awb.save_awb(model, path)
    half = backbone().half()
    before = snapshot(half)
    with pytest.raises(awb.AWBError, match=r"cast from torch.float32 to torch.float16, has values that are NaN or inf"):
        load(half, path)
    assert before["state"].keys() == half.state_dict().keys()


def test_an_adapter_that_its_own_library_saves(tmp_path: Path) -> None:
    """Trained beside the blocks and lost by intent, it is no part of the backbone that the file knows."""
    path = tmp_path / "blocks.safetensors"
    model = with_lora(awb.attach_awb(backbone(), "last", input_size=SIZE))
    awb.save_awb(model, path, allow_lost=True)
    load(backbone(), path)


def test_on_meta_nothing_can_be_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path, backbone())
    without_fingerprint(path)
    with torch.device("meta"):
        model = timm.create_model("test_resnet", num_classes=5)
    with pytest.raises(awb.AWBError, match="on meta"):
        load(model, path)


def test_blocks_made_on_meta_have_values_once_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path, backbone())
    with torch.device("meta"):
        model = awb.attach_awb(timm.create_model("test_resnet", num_classes=5), "last", input_size=SIZE)
    for module in model.modules():  # as a framework does that sets tensors one by one
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    empty = torch.empty_like(tensor, device="cpu")
                    tensors[name] = nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty
    model.load_state_dict(backbone().state_dict(), strict=False)
    load(model.eval(), path)
    images = torch.randn(1, 3, SIZE, SIZE)
    assert torch.equal(model(images), load(backbone(), path)(images))
