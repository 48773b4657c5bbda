"""Maps of several networks on images of an image store, made case by case by the methods in `methods/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from awb import AWBError
from awb.errors import did_you_mean
from examples.chestxray14.data.boxes import Boxes
from examples.chestxray14.explanation.cases import Case, Map
from examples.chestxray14.explanation.layers import LAST, find_layer
from examples.chestxray14.explanation.methods.attention import (
    attention_change,
    attention_change_at,
    has_attention_maps,
)
from examples.chestxray14.explanation.methods.grad_cam import grad_cam
from examples.chestxray14.recipes.transforms import Transform

Method = Callable[[Tensor, Tensor], Tensor]  # images (N, 3, H, W), targets (N,) → maps (N, h, w), 0 or more


class Images(Protocol):
    """Images by name, such as an image store."""

    def __getitem__(self, name: str) -> npt.NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Inputs:
    """Conversion of stored images to a network's inputs, and of findings to the indices of its logits.

    Attributes:
        store: Image store, or other images by name, uint8 (H, W), in colour (H, W, 3).
        transform: Transform without augmentation.
        classes: Names of the network's logits, in order.
    """

    store: Images
    transform: Transform
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.transform.random:
            raise AWBError("a map is of the image as it is; expected a Transform without augmentation")

    def images(self, names: Iterable[str]) -> Tensor:
        """The network's input, float32 (N, 3, size, size)."""
        return torch.stack([self.transform(self.store[name]) for name in names])

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes in pixels of the network's input, cut where it is cut out of the image."""
        seen, transform = boxes.scaled_to(self.transform.resized), self.transform
        return seen if transform.resize is None else seen.cropped_to(transform.size, transform.border)

    def picture(self, name: str, side: int) -> Image.Image:
        """The part of an image that the network sees, grey, as a square of `side` pixels."""
        pixels, transform = self.store[name], self.transform
        edges = (transform.border, transform.border + transform.size)
        start, end = (edge * pixels.shape[0] / transform.resized for edge in edges)
        whole = Image.fromarray(pixels)
        return whole.resize((side, side), Image.Resampling.BILINEAR, box=(start, start, end, end))

    def targets(self, findings: Iterable[str]) -> Tensor:
        """Index of each finding's logit, int64 (N,)."""
        return torch.tensor([self._index(finding) for finding in findings])

    def _index(self, finding: str) -> int:
        if finding not in self.classes:
            raise AWBError(f"the network knows no {finding!r}{did_you_mean(finding, self.classes)}")
        return self.classes.index(finding)


@dataclass(frozen=True)
class MapMaker:
    """A method applied to a network.

    Attributes:
        name: Name of the network, and of the method unless it is Grad-CAM.
        method: From images and targets to maps.
        grid: Side of the maps.
    """

    name: str
    method: Method
    grid: int


def map_makers(
    models: Mapping[str, nn.Module], inputs: Inputs, where: int | str = LAST, *, attention: bool = False
) -> list[MapMaker]:
    """Grad-CAM of each network and, if asked for, the attention map of each block.

    Args:
        models: Networks in eval mode, by name.
        inputs: Inputs of all networks.
        where: Layer of Grad-CAM, see `find_layer`.
        attention: Also add the attention maps of the networks whose blocks have maps.

    Raises:
        AWBError: The number of a network's logits is not that of the classes of `inputs`, or `find_layer` refuses.
    """
    size = inputs.transform.size
    probe = torch.zeros(1, 3, size, size)
    makers = []
    for name, model in models.items():
        with torch.no_grad():
            logits = model(probe).shape[-1]
        if logits != len(inputs.classes):
            raise AWBError(f"model {name!r} has {logits} logits for {len(inputs.classes)} classes")
        method = partial(grad_cam, model, find_layer(model, where, size))
        makers.append(MapMaker(name, method, method(probe, torch.tensor([0])).shape[-1]))
        if attention and has_attention_maps(model):
            for key, maps in attention_change(model, probe).items():
                at_block = partial(attention_change_at, model, key)
                makers.append(MapMaker(f"{name}, attention at {key}", at_block, maps.shape[-1]))
    return makers


def case_maps(cases: Sequence[Case], inputs: Inputs, method: Method, batch_size: int = 16) -> Iterator[Map]:
    """The map of each case, enlarged to the pixels of the network's input.

    Args:
        cases: Images and findings.
        inputs: Inputs of the network.
        method: From images and targets to maps, such as `partial(grad_cam, model, layer)`.
        batch_size: Images per batch.
    """
    for start in range(0, len(cases), batch_size):
        batch = cases[start : start + batch_size]
        images, targets = inputs.images(case.image for case in batch), inputs.targets(case.finding for case in batch)
        yield from enlarge(method(images, targets), inputs.transform.size).numpy()


def enlarge(maps: Tensor, size: int) -> Tensor:
    """Enlarge maps (N, h, w) to the pixels of the image, (N, size, size), bilinearly and centre on centre."""
    return interpolate(maps[:, None].float(), size=(size, size), mode="bilinear", align_corners=False)[:, 0]
