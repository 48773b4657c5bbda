"""What `attach_awb` promises of every network: for the tests, and for benchmarks/zoo_coverage.py on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import awb
from tests.helpers import assert_same, perturb, snapshot


def check_contract(model: nn.Module, images: Tensor, selectors: Sequence[Any] = ("all",)) -> None:
    """Raise AssertionError unless attaching changes nothing, each block then works, and detaching leaves no trace.

    The meta device has no values: there it checks shapes, the model's state, and that each block gets a gradient.

    Args:
        model: In eval mode, with batch norm statistics that fit `images` (`tests.helpers.calibrate`).
        images: [batch, channels, height, width], on the device of the model.
        selectors: Stages to attach at, one selector after the other; the last one's blocks are checked one by one.
    """
    before, plain = snapshot(model), outputs(model, images)
    for selector in selectors:
        attach(model, selector, images)
        assert [key for key in model.state_dict() if ".awb." not in key] == list(before["state"]), "other keys"
        assert same(outputs(model, images), plain), f"attached at {selector}, the blocks are not the identity"
        if selector is selectors[-1]:
            check_blocks(model, images)
        awb.detach_awb(model)
        torch.set_rng_state(before["rng"])  # building blocks draws random numbers
        assert_same(before, snapshot(model))
        assert same(outputs(model, images), plain), "detaching leaves another network"


def attach(model: nn.Module, selector: Any, images: Tensor) -> None:
    """On the meta device nothing can be told dead, so that everything is allowed."""
    height, width = images.shape[-2:]
    awb.attach_awb(model, selector, input_size=(height, width), allow_dead=images.is_meta)


def check_blocks(model: nn.Module, images: Tensor) -> None:
    """Each block, made other than the identity, changes the outputs, and each of its parameters gets a gradient."""
    changed = disturb(model, images)
    assert changed.is_meta or changed.isfinite().all(), "the perturbed output is not finite"
    parameters = {name: p for name, p in model.named_parameters() if ".awb." in name}
    found = torch.autograd.grad(changed.square().sum(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, found, strict=True):
        assert gradient is not None, f"{name} gets no gradient"
        assert gradient.is_meta or gradient.any(), f"{name} gets a zero gradient"
    if changed.is_meta:
        return
    for path, block in awb.awb_blocks(model).items():
        block.enabled = False
        assert not torch.equal(outputs(model, images), changed), f"{path} has no effect"
        block.enabled = True


def disturb(model: nn.Module, images: Tensor) -> Tensor:
    """Make every block other than the identity, and return the outputs.

    A block multiplies its input: the more there are and the larger the maps, the less noise keeps the outputs finite.
    """
    fresh = [parameter.detach().clone() for parameter in awb.awb_parameters(model)]
    for scale in (0.05, 0.005, 0.0005):
        with torch.no_grad():
            for parameter, value in zip(awb.awb_parameters(model), fresh, strict=True):
                parameter.copy_(value)
        perturb(model, scale=scale / len(awb.awb_blocks(model)))
        changed: Tensor = model(images)
        if changed.is_meta or changed.isfinite().all():
            break
    return changed


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> Tensor:
    result: Tensor = model(images)
    return result


def same(a: Tensor, b: Tensor) -> bool:
    """Bit for bit; on the meta device of the same shape."""
    return a.shape == b.shape if a.is_meta else torch.equal(a, b)
