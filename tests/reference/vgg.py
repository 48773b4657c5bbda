"""VGG16-BN with LKA, its `forward` written out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.reference.lka import HandLKA

_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16BNLKA(nn.Module):
    """LKA after the last ReLU (before the pool) of the blocks in `blocks`, and, if `after`, after the last pool."""

    def __init__(self, blocks: tuple[int, ...], after: bool, num_classes: int) -> None:
        super().__init__()
        self.convs, self.norms, self.attentions = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        previous = 3
        for number, widths in enumerate(_WIDTHS, start=1):
            convs, norms = nn.ModuleList(), nn.ModuleList()
            for width in widths:
                convs.append(nn.Conv2d(previous, width, 3, padding=1))
                norms.append(nn.BatchNorm2d(width))
                previous = width
            self.convs.append(convs)
            self.norms.append(norms)
            self.attentions.append(HandLKA(previous) if number in blocks else nn.Identity())
        self.attention_after = HandLKA(previous) if after else nn.Identity()
        self.linear = nn.Linear(previous, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for convs, norms, attention in zip(self.convs, self.norms, self.attentions, strict=True):
            for conv, norm in zip(convs, norms, strict=True):
                x = F.relu(norm(conv(x)))
            x = F.max_pool2d(attention(x), kernel_size=2, stride=2)
        x = self.attention_after(x)
        return self.linear(torch.mean(x, dim=(2, 3)))


def vgg16_bn_lka(placement: str, num_classes: int = 14) -> VGG16BNLKA:
    blocks = {"all": (1, 2, 3, 4, 5), "last:3": (3, 4, 5), "after": ()}[placement]
    return VGG16BNLKA(blocks, placement == "after", num_classes)
