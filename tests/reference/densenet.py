"""DenseNet121 with LKA, its `forward` written out."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from tests.reference.lka import HandLKA


class DenseNet121LKA(nn.Module):
    """LKA after the dense blocks whose numbers are in `blocks`, and, if `after`, between norm5 and the last ReLU."""

    def __init__(self, blocks: tuple[int, ...], after: bool, num_classes: int) -> None:
        super().__init__()
        parts = torchvision.models.densenet121(weights=None).features
        self.stem = nn.Sequential(parts.conv0, parts.norm0, parts.relu0, parts.pool0)
        self.block1, self.transition1 = parts.denseblock1, parts.transition1
        self.block2, self.transition2 = parts.denseblock2, parts.transition2
        self.block3, self.transition3 = parts.denseblock3, parts.transition3
        self.block4, self.norm5 = parts.denseblock4, parts.norm5
        self.lka1 = HandLKA(256) if 1 in blocks else nn.Identity()
        self.lka2 = HandLKA(512) if 2 in blocks else nn.Identity()
        self.lka3 = HandLKA(1024) if 3 in blocks else nn.Identity()
        self.lka4 = HandLKA(1024) if 4 in blocks else nn.Identity()
        self.lka5 = HandLKA(1024) if after else nn.Identity()
        self.linear = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.transition1(self.lka1(self.block1(x)))
        x = self.transition2(self.lka2(self.block2(x)))
        x = self.transition3(self.lka3(self.block3(x)))
        x = self.lka4(self.block4(x))
        x = F.relu(self.lka5(self.norm5(x)))
        return self.linear(torch.mean(x, dim=(2, 3)))


def densenet121_lka(placement: str, num_classes: int = 14) -> DenseNet121LKA:
    blocks = {"all": (1, 2, 3, 4), "last:2": (3, 4), "after": ()}[placement]
    return DenseNet121LKA(blocks, placement == "after", num_classes)
