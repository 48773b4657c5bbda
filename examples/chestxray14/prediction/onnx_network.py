"""The network that an ONNX file holds: pixels in, logits and probabilities out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from examples.chestxray14.evaluation.decisions import Decisions
from examples.chestxray14.recipes.stage_settings import Task
from examples.chestxray14.recipes.transforms import Transform


class PixelNetwork(nn.Module):
    """A run's network with its cropping, normalisation and temperatures inside, on the CPU in float32.

    Args:
        model: The run's network.
        transform: Transform from a decoded image to its input.
        rules: The run's temperatures.
        colour: True if images have three channels, not one.
    """

    scale: Tensor

    def __init__(self, model: nn.Module, transform: Transform, rules: Decisions, *, colour: bool) -> None:
        super().__init__()
        # torch.export fails on some networks (MaxViT) whose parameters need a gradient
        self.model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
        self.transform = transform
        self.channels = 3 if colour else 1
        self.task: Task = rules.task
        self.register_buffer("scale", torch.tensor(rules.scale, dtype=torch.float32))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image: channels, height, width."""
        return (self.channels, self.transform.resized, self.transform.resized)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities, float32 (N, C).

        Args:
            pixels: Decoded images, uint8 (N, *shape).
        """
        logits = self.model(self.transform.finish(pixels))
        scaled = logits / self.scale
        return logits, scaled.softmax(dim=1) if self.task == "classes" else scaled.sigmoid()
