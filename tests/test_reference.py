"""An attached network is the same function, with the same gradients, as one whose `forward` was edited by hand.

In train mode throughout: an untrained VGG in eval mode returns just its last bias, so any LKA would agree there.
The maps at "after" are 2×2 here, where the dilated kernel's outer taps see padding only; the other placements use them.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import awb
from tests.reference import densenet121_lka, vgg16_bn_lka

CLASSES = 14
HAND_WRITTEN = {"densenet121": densenet121_lka, "vgg16_bn": vgg16_bn_lka}
PLACEMENTS = [
    ("densenet121", "after"),
    ("densenet121", "last:2"),
    ("densenet121", "all"),
    ("vgg16_bn", "after"),
    ("vgg16_bn", "last:3"),
    ("vgg16_bn", "all"),
]
QUICK = [("densenet121", "last:2")]

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}  # relative to the largest entry

# attached module -> hand-written module
LKA = {"attention.depthwise": "conv0", "attention.dilated": "conv_spatial", "attention.pointwise": "conv1"}
BLOCKS = {
    "densenet121": {
        "features.denseblock1.denselayer6.awb": "lka1",
        "features.denseblock2.denselayer12.awb": "lka2",
        "features.denseblock3.denselayer24.awb": "lka3",
        "features.denseblock4.denselayer16.awb": "lka4",
        "features.norm5.awb": "lka5",
    },
    "vgg16_bn": {
        "features.5.awb": "attentions.0",
        "features.12.awb": "attentions.1",
        "features.22.awb": "attentions.2",
        "features.32.awb": "attentions.3",
        "features.42.awb": "attentions.4",
        "features.43.awb": "attention_after",
    },
}
BACKBONE = {
    "densenet121": {
        "features.conv0": "stem.0",
        "features.norm0": "stem.1",
        "features.denseblock1": "block1",
        "features.transition1": "transition1",
        "features.denseblock2": "block2",
        "features.transition2": "transition2",
        "features.denseblock3": "block3",
        "features.transition3": "transition3",
        "features.denseblock4": "block4",
        "features.norm5": "norm5",
        "classifier": "linear",
    },
    "vgg16_bn": {
        "features.0": "convs.0.0", "features.1": "norms.0.0",
        "features.3": "convs.0.1", "features.4": "norms.0.1",
        "features.7": "convs.1.0", "features.8": "norms.1.0",
        "features.10": "convs.1.1", "features.11": "norms.1.1",
        "features.14": "convs.2.0", "features.15": "norms.2.0",
        "features.17": "convs.2.1", "features.18": "norms.2.1",
        "features.20": "convs.2.2", "features.21": "norms.2.2",
        "features.24": "convs.3.0", "features.25": "norms.3.0",
        "features.27": "convs.3.1", "features.28": "norms.3.1",
        "features.30": "convs.3.2", "features.31": "norms.3.2",
        "features.34": "convs.4.0", "features.35": "norms.4.0",
        "features.37": "convs.4.1", "features.38": "norms.4.1",
        "features.40": "convs.4.2", "features.41": "norms.4.2",
        "classifier": "linear",
    },
}  # fmt: skip


@dataclass
class Step:
    """What one training step computes."""

    logits: Tensor
    gradients: dict[str, Tensor]
    statistics: dict[str, Tensor]


def hand_written_key(backbone: str, key: str) -> str:
    """The hand-written network's key for a key of the attached one."""
    path, _, leaf = key.rpartition(".")
    block, awb_child, inside = path.partition(".awb.")
    if awb_child:
        return f"{BLOCKS[backbone][block + '.awb']}.{LKA[inside]}.{leaf}"
    part = max((p for p in BACKBONE[backbone] if f"{path}.".startswith(f"{p}.")), key=len)
    return f"{BACKBONE[backbone][part]}{path.removeprefix(part)}.{leaf}"


def build(backbone: str, placement: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """The attached network and the hand-written one, with the same weights."""
    model = awb.replace_head(getattr(torchvision.models, backbone)(weights=None), CLASSES)
    # the same convolutions, since the comparison is of how the network is put together
    attached = awb.attach_awb(model, placement, init="default", input_size=64, backend="stock").to(dtype).train()
    by_hand = HAND_WRITTEN[backbone](placement, CLASSES).to(dtype).train()
    renamed = {hand_written_key(backbone, key): value for key, value in attached.state_dict().items()}
    assert len(renamed) == len(attached.state_dict())
    by_hand.load_state_dict(renamed, strict=True)
    return attached, by_hand


def batch(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two images and their targets, always the same."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(2, 3, 64, 64, generator=generator).to(dtype)
    return images, torch.rand(2, CLASSES, generator=generator).gt(0.5).to(dtype)


def step(model: nn.Module) -> Step:
    """One step on the batch; the images' gradient is among the gradients."""
    images, targets = batch(next(model.parameters()).dtype)
    images.requires_grad_()
    logits = model(images)
    F.binary_cross_entropy_with_logits(logits, targets).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return Step(logits.detach(), {"images": images.grad, **gradients}, dict(model.named_buffers()))


def assert_close(ours: Tensor, theirs: Tensor, name: str, at_least: float = 0.0) -> None:
    """Agreement relative to the largest entry, or to `at_least` where all entries are smaller."""
    scale = max(theirs.abs().max().item(), at_least)
    error = (ours - theirs).abs().max().item()
    assert error <= TOLERANCE[ours.dtype] * scale, f"{name}: {error:.2g} off at a scale of {scale:.2g}"


@pytest.mark.parametrize(
    ("backbone", "placement", "dtype"),
    [
        pytest.param(*case, dtype, marks=() if case in QUICK and dtype == torch.float64 else pytest.mark.slow)
        for case in PLACEMENTS
        for dtype in TOLERANCE
    ],
)
def test_equals_the_hand_written_network(backbone: str, placement: str, dtype: torch.dtype) -> None:
    attached, by_hand = build(backbone, placement, dtype)
    ours, theirs = step(attached), step(by_hand)

    assert_close(ours.logits, theirs.logits, "logits")
    for key, statistic in ours.statistics.items():
        if statistic.is_floating_point():
            assert_close(statistic, theirs.statistics[hand_written_key(backbone, key)], key)

    # batch norm makes some gradients exactly 0 (those of the biases before it), where all that is left is round-off
    at_least = 1e-3 * max(gradient.abs().max().item() for gradient in theirs.gradients.values())
    assert len(ours.gradients) == len(theirs.gradients)
    for key, gradient in ours.gradients.items():
        their_key = key if key == "images" else hand_written_key(backbone, key)
        assert_close(gradient, theirs.gradients[their_key], key, at_least)

    # the agreement is not vacuous: without the blocks the logits are others
    with awb.awb_disabled(attached), torch.no_grad():
        without = attached(batch(dtype)[0])
    assert (ours.logits - without).abs().max() > 0.01 * without.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["densenet121", "vgg16_bn"])
def test_by_phases_is_as_near_to_float64_as_the_convolutions(backbone: str) -> None:
    reference, stock = (build(backbone, "all", dtype)[0] for dtype in (torch.float64, torch.float32))
    stock.load_state_dict(reference.state_dict())
    reference.load_state_dict(stock.state_dict())  # the same numbers, rounded once
    phases = copy.deepcopy(stock)
    for block in awb.awb_blocks(phases).values():
        block.attention.backend = "polyphase"
    exact, *steps = map(step, (reference, stock, phases))

    def error(of: Step) -> float:
        """Root mean square over all gradients of the relative error."""
        errors = [
            ((of.gradients[name].double() - gradient).norm() / gradient.norm()).item()
            for name, gradient in exact.gradients.items()
            if gradient.norm() > 1e-6
        ]
        return math.sqrt(sum(e * e for e in errors) / len(errors))

    theirs, ours = map(error, steps)
    assert ours < 2 * theirs < 1e-2
    assert_close(steps[1].logits, exact.logits.float(), "logits")
