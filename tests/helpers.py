"""What many tests need: weights that say something, and a model's state to compare."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import awb
from awb.classifier import find_classifier


def fitting(channels: int, side: int) -> list[str]:
    """Kinds that take maps of these channels and this side; tests/attention has the others on maps of their own."""
    infos = map(awb.attention_info, awb.list_attention())
    return [i.name for i in infos if channels % i.channel_multiple == 0 and i.min_map <= side]


def perturb(model: nn.Module, scale: float = 0.02, seed: int = 0) -> None:
    """Make the blocks other than the identity by small zero-mean noise."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in awb.awb_parameters(model):
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator).to(parameter))


@torch.no_grad()
def calibrate(model: nn.Module, images: Tensor) -> None:
    """Give batch norms the statistics of these images: with none, an untrained deep network outputs its biases."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the mean over batches, of which there is one
        norm.reset_running_stats()
    model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
        norm.running_var.clamp_(min=0.01)  # a channel that was dead would be multiplied by 316 where it is not


def wake_classifier(model: nn.Module) -> None:
    """Some timm classifiers start at zero: give them weights, so that logits depend on features."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for head in find_classifier(model).values():
            for parameter in head.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(parameter))


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that awb must leave as it was: keys, values, storage, modes, attributes, hooks and children."""
    return {
        "state": {k: (v.clone(), v.data_ptr()) for k, v in model.state_dict().items()},
        "modes": {n: m.training for n, m in model.named_modules()},
        "attributes": {n: sorted(vars(m)) for n, m in model.named_modules()},
        "children": {n: [c for c, _ in m.named_children()] for n, m in model.named_modules()},
        "hooks": {n: [*m._forward_hooks.values(), *m._forward_pre_hooks.values()] for n, m in model.named_modules()},
        "requires_grad": {n: p.requires_grad for n, p in model.named_parameters()},
        "rng": torch.get_rng_state(),
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Two snapshots agree in everything."""
    assert list(before["state"]) == list(after["state"])
    for key, (value, pointer) in before["state"].items():
        assert value.is_meta or torch.equal(value, after["state"][key][0]), key
        assert pointer == after["state"][key][1], key
    for part in ("modes", "attributes", "children", "hooks", "requires_grad"):
        assert before[part] == after[part], part
    assert torch.equal(before["rng"], after["rng"])


def gradients(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Gradients of a fixed projection of the logits."""
    model.zero_grad()
    logits = model(images)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    (logits * weights).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
