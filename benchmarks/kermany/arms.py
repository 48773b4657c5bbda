"""Arms of the study: blocks, their initialisation, and whether the backbone trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import awb
from awb.attention.registry import list_attention
from examples.efficientnet_lite0 import load_efficientnet_lite0

STAGES = (3, 4)  # blocks.2 and blocks.4; the maps of 128 pixels are 16×16 and 8×8 there
LATER = (4, 5)  # where the first look had them; the map is 4×4 at stage 5, blocks.6
FRONT = ("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2.0")  # modules before the first block's
BACKBONE = (*FRONT, "blocks.2.1", "blocks.3", "blocks.4", "blocks.5", "blocks.6", "conv_head", "bn2")


@dataclass(frozen=True)
class Arm:
    """One arm of the study; its runs differ only in the seed.

    Attributes:
        name: Name in the tables.
        frozen: Train only blocks and classifier, with batch norms in eval mode.
        attention: Attention type of the blocks; None for no blocks.
        init: Initialisation of the blocks.
        seeds: Number of runs.
        epochs: Factor on the number of epochs of the other arms.
        rate: Factor on the learning rate of the other arms' blocks.
        stages: Stages with a block.
    """

    name: str
    frozen: bool
    attention: str | None = None
    init: str = "identity"
    seeds: int = 3
    epochs: int = 1
    rate: int = 1
    stages: tuple[int, ...] = STAGES

    @property
    def front(self) -> tuple[str, ...]:
        """Modules before the first trained one: their output is computed once."""
        return BACKBONE if self.frozen and self.attention is None else FRONT

    @property
    def mode(self) -> str:
        return "frozen" if self.frozen else "fine-tuned"


NONE = Arm("no AWB", True)
LKA = Arm("LKA identity", True, "lka")
CONTROL = Arm("control", True, "kermany_control")
ARMS = (
    NONE,
    LKA,
    CONTROL,
    Arm("LKA default", True, "lka", "default"),
    Arm("timm_cbam", True, "timm_cbam"),
    Arm("timm_se", True, "timm_se"),
    Arm("no AWB", False, seeds=2),
    Arm("LKA identity", False, "lka", seeds=2),
    Arm("LKA default", False, "lka", "default", seeds=2),
    Arm("no AWB, 10 × epochs", True, epochs=10),
    Arm("LKA identity, 3 × rate", True, "lka", rate=3),  # its best on validation; the control's is the common one
    Arm("LKA identity, stages 4, 5", True, "lka", seeds=2, stages=LATER),
    Arm("control, stages 4, 5", True, "kermany_control", seeds=2, stages=LATER),
    Arm("LKA default, stages 4, 5", True, "lka", "default", seeds=2, stages=LATER),
)


class PointwiseGate(nn.Module):
    """x · pw(h + up(GELU(down(h)))), h = x: LKA with a pointwise bottleneck in place of its depthwise convolutions.

    It has as many parameters as LKA (within 1 %), mixes channels as LKA does, and its receptive field is one pixel.
    """

    def __init__(self, channels: int, hidden: int = 37) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, hidden, 1)  # 2·37 C weights; LKA's depthwise ones are (25 + 49) C
        self.up = nn.Conv2d(hidden, channels, 1)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def attention_map(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.pointwise(x + self.up(nn.functional.gelu(self.down(x))))
        return mixed

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention_map(x)

    @torch.no_grad()
    def reset_identity(self) -> None:
        self.pointwise.weight.zero_()
        assert self.pointwise.bias is not None
        self.pointwise.bias.fill_(1.0)


def build(arm: Arm, seed: int, size: int) -> nn.Module:
    """Build the network after the arm's front, to be run on its features; the head is the same in all arms."""
    if "kermany_control" not in list_attention():
        awb.register_attention("kermany_control")(PointwiseGate)
    model = load_efficientnet_lite0()
    torch.manual_seed(seed)
    awb.replace_head(model, num_classes=2)
    if arm.attention is not None:
        awb.attach_awb(model, list(arm.stages), attention=arm.attention, init=arm.init, input_size=size)
    for name in arm.front:
        model.set_submodule(name, nn.Identity())
    if arm.frozen:
        awb.freeze_backbone(model)
    return model.to(memory_format=torch.channels_last)


@torch.no_grad()
def make_features(images: Tensor, front: tuple[str, ...], batch: int = 64) -> Tensor:
    """Output of a front's modules for all images, in eval mode."""
    model = load_efficientnet_lite0().to(memory_format=torch.channels_last)
    modules = nn.Sequential(*(model.get_submodule(name) for name in front)).eval()
    made = [modules(chunk.contiguous(memory_format=torch.channels_last)) for chunk in images.split(batch)]
    return torch.cat(made).contiguous(memory_format=torch.channels_last)


def runs() -> Iterator[tuple[Arm, int]]:
    """Every arm and seed, first seeds first, so that an interrupted study has run every arm."""
    for seed in range(max(arm.seeds for arm in ARMS)):
        for arm in ARMS:
            if seed < arm.seeds:
                yield arm, seed
