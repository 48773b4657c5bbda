"""Refuse to train a network that no signal or gradient passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import awb
from awb import DeadNetworkError


def require_alive(model: nn.Module, images: Tensor) -> str:
    """Look at a network in its present mode on a first batch.

    Args:
        model: With blocks, which `awb.diagnose` measures, or without.
        images: As in training, (N, 3, H, W).

    Returns:
        What was measured, to be kept.

    Raises:
        DeadNetworkError: It cannot learn.
    """
    if awb.awb_blocks(model):
        return str(awb.diagnose(model, images, raise_if_dead=True))
    return _measure_classifier(model, images)


@torch.no_grad()
def _measure_classifier(model: nn.Module, images: Tensor) -> str:
    """A plain network is dead if its classifier gets nothing, or nothing finite."""
    seen: list[Tensor] = []
    hook = model.get_submodule("classifier").register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()(images)
    finally:
        hook.remove()
        for module, mode in modes.items():
            module.training = mode
    features = seen[0].float()
    rms = features.square().mean().sqrt().item()
    if not 0 < rms < float("inf"):
        raise DeadNetworkError(f"the network is dead: features before the classifier have a root mean square of {rms}")
    return f"no blocks; features before the classifier: root mean square {rms:.4g}"
