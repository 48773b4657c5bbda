"""Explain several models on the same images: measures beside the baselines, and pictures side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn

from awb import AWBError
from examples.chestxray14.explanation.baselines import box_prior_maps, centre_maps, random_maps
from examples.chestxray14.explanation.localisation import Case, Localisation, Rules, localise
from examples.chestxray14.explanation.maps import LAST, Inputs, Maker, attention_change, case_maps, find_layer, grad_cam
from examples.chestxray14.explanation.overlay import overlay

BASELINES = ("centre prior", "random map", "other patients' boxes")


@dataclass(frozen=True)
class Explained:
    """Ways of making maps of one model.

    Attributes:
        name: Of the model, with what the map is of where that is not Grad-CAM.
        maker: Images and targets to maps.
        grid: Side of the maps.
    """

    name: str
    maker: Maker
    grid: int


def map_makers(
    models: Mapping[str, nn.Module], inputs: Inputs, where: int | str = LAST, *, attention: bool = False
) -> list[Explained]:
    """Grad-CAM of each model, and, if asked for, the attention map of each block.

    Args:
        models: By name, in eval mode.
        inputs: Of all of them.
        where: Of Grad-CAM, see `find_layer`.
        attention: Whether to add the attention maps of the models that have blocks with maps.

    Raises:
        AWBError: A model has other logits than `inputs` has classes, or `find_layer` refuses it.
    """
    size = inputs.transform.size
    probe = torch.zeros(1, 3, size, size)
    found = []
    for name, model in models.items():
        with torch.no_grad():
            logits = model(probe).shape[-1]
        if logits != len(inputs.classes):
            raise AWBError(f"model {name!r} has {logits} logits for {len(inputs.classes)} classes")
        maker = partial(grad_cam, model, find_layer(model, where, size))
        found.append(Explained(name, maker, maker(probe, torch.tensor([0])).shape[-1]))
        if attention:
            for key, maps in _attention(model, probe).items():
                found.append(
                    Explained(f"{name}, attention at {key}", partial(_attention_at, model, key), maps.shape[-1])
                )
    return found


def measure_models(
    makers: Sequence[Explained], inputs: Inputs, cases: Sequence[Case], rules: Rules | None = None, seed: int = 0
) -> dict[str, Localisation]:
    """Each model's maps and the three baselines, measured on the same cases.

    Args:
        makers: Of `map_makers`; the random map has the first's grid.
        inputs: Of all of them.
        cases: With boxes in pixels of the networks' input.
        rules: Of what counts.
        seed: Of the random map.
    """
    size = inputs.transform.size
    results = {one.name: localise(cases, case_maps(cases, inputs, one.maker), size, rules) for one in makers}
    return results | measure_baselines(cases, size, makers[0].grid, rules, seed)


def measure_baselines(
    cases: Sequence[Case], size: int, grid: int, rules: Rules | None = None, seed: int = 0
) -> dict[str, Localisation]:
    """The three baselines, which need boxes and no images.

    Args:
        cases: With boxes in pixels of images of `size`.
        size: Side of the images in pixels.
        grid: Side of the random map's grid.
        rules: Of what counts.
        seed: Of the random map.
    """
    maps = (centre_maps(cases, size), random_maps(cases, size, grid, seed), box_prior_maps(cases, size))
    return {name: localise(cases, of, size, rules) for name, of in zip(BASELINES, maps, strict=True)}


def captions(makers: Sequence[Explained]) -> list[str]:
    """Of the pictures that `overlays` makes of a case."""
    return ["image", *(one.name for one in makers)]


def overlays(
    makers: Sequence[Explained], inputs: Inputs, cases: Sequence[Case], enlarged: int | None = None
) -> Iterator[list[Image.Image]]:
    """Pictures of each case: the image with its box, then each model's map over it.

    Args:
        makers: Of `map_makers`.
        inputs: Of all of them; images are shown at the network's size.
        cases: May have no boxes.
        enlarged: Times each side of the picture; by default up to about 224 pixels.
    """
    enlarged = enlarged or max(1, 224 // inputs.transform.size)
    size = inputs.transform.size * enlarged
    maps = [list(case_maps(cases, inputs, one.maker)) for one in makers]
    for row, case in enumerate(cases):
        image = Image.fromarray(inputs.store[case.image]).resize((size, size), Image.Resampling.BILINEAR)
        boxes = [box.scaled(enlarged) for box in case.boxes]
        yield [overlay(image, None, boxes), *(overlay(image, of[row], boxes) for of in maps)]


def _attention(model: nn.Module, images: Tensor) -> dict[int | str, Tensor]:
    from awb import awb_blocks

    blocks = awb_blocks(model).values()
    offered = bool(blocks) and all(hasattr(block.attention, "attention_map") for block in blocks)
    return attention_change(model, images) if offered else {}


def _attention_at(model: nn.Module, key: int | str, images: Tensor, targets: Tensor) -> Tensor:
    return attention_change(model, images)[key]
