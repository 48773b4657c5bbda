"""Where a network looked: Grad-CAM at any map of it, and the attention maps of its blocks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import awb
from awb import AWBError
from awb.errors import did_you_mean
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.localisation import Case, Map
from examples.chestxray14.recipes.transforms import Transform

LAST = "last"


@dataclass(frozen=True)
class Inputs:
    """How an image of a store becomes a network's input, and a finding one of its logits.

    Attributes:
        store: Where the images are.
        transform: Without augmentation.
        classes: The network's logits, in order.
    """

    store: ImageStore
    transform: Transform
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.transform.augmentation is not None:
            raise AWBError("a map is of the image as it is; expected a Transform without augmentation")

    def images(self, names: Iterable[str]) -> Tensor:
        """float32 (N, 3, size, size)."""
        return torch.stack([self.transform(self.store[name]) for name in names])

    def targets(self, findings: Iterable[str]) -> Tensor:
        """Which logit each finding is, int64 (N,)."""
        return torch.tensor([self._index(finding) for finding in findings])

    def _index(self, finding: str) -> int:
        if finding not in self.classes:
            raise AWBError(f"the network knows no {finding!r}{did_you_mean(finding, self.classes)}")
        return self.classes.index(finding)


def find_layer(model: nn.Module, where: int | str = LAST, input_size: int | None = None) -> str:
    """The path of the module whose output Grad-CAM is to weigh.

    Args:
        model: With blocks or without.
        where: `"last"`: the last map before pooling, where `attach_awb(model, "after")` would put a block; a
            number: the block of that stage; or a path. A module with a block behind it gives the block's output.
        input_size: Side of the input in pixels, for `"last"`; by default what the model was built for.

    Raises:
        AWBError: No such module or block, a network that awb does not know (then name a path), or a map that is
            not N×C×H×W.
    """
    if isinstance(where, int):
        blocks = [block.planned for block in awb.awb_blocks(model).values()]
        sites = [planned.site for planned in blocks if planned.stage == where]
        if not sites:
            raise AWBError(f"no block at stage {where}; there are blocks at {[str(p.stage or p.site) for p in blocks]}")
        site = sites[0]
    elif where == LAST:
        bare = awb.detach_awb(copy.deepcopy(model)) if awb.awb_blocks(model) else model
        (planned,) = awb.plan_awb(bare, "after", input_size=input_size).blocks
        site = planned.site
    else:
        paths = dict(model.named_modules())
        if where not in paths:
            raise AWBError(f"no module {where!r}{did_you_mean(where, paths)}; or {LAST!r}, or the number of a stage")
        return where
    if site.layout != "NCHW" or site.element is not None:
        raise AWBError(f"{site} gives {site.layout}; Grad-CAM needs a module that gives N×C×H×W")
    return site.module


def grad_cam(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2), by captum's LayerGradCam.

    Channels are weighted by the mean gradient of the finding's logit and summed; what is negative becomes 0.

    Args:
        model: In eval mode; it may be frozen.
        layer: Path of a module that gives N×C×H×W (`find_layer`).
        images: (N, 3, H, W).
        targets: The logit of each image, int64 (N,).

    Returns:
        (N, h, w) on the layer's own grid, 0 or more. All 0 where nothing speaks for the finding.

    Raises:
        AWBError: The model is in training mode, or the layer gives no N×C×H×W map.
    """
    from captum.attr import LayerGradCam

    if model.training:
        raise AWBError("the model is in training mode, and its batch norms and dropout would change the map: eval()")
    # of inputs that want a gradient, so that a frozen network has a graph
    maps = LayerGradCam(model, model.get_submodule(layer)).attribute(
        images.detach().requires_grad_(), target=targets, relu_attributions=True
    )
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise AWBError(f"{layer} gives no N×C×H×W map; name a module that does")
    return maps[:, 0].detach()


@torch.no_grad()
def attention_change(model: nn.Module, images: Tensor) -> dict[int | str, Tensor]:
    """How far each block's attention is from 1, which is no attention: the mean of |A − 1| over the channels.

    It is the same for every finding: a block attends before the classifier asks.

    Args:
        model: In eval mode, with blocks of a kind that has maps (`lka`, `van`).
        images: (N, 3, H, W).

    Returns:
        By stage number (or site), (N, h, w), 0 or more; all 0 at a block that is the identity.

    Raises:
        AWBError: As `awb.capture_attention` does, or the model is in training mode.
    """
    if model.training:
        raise AWBError("the model is in training mode, and its batch norms would change the maps: call eval()")
    with awb.capture_attention(model) as maps:
        model(images)
        return {key: (attention - 1).abs().mean(dim=1) for key, attention in maps.items()}


def enlarge(maps: Tensor, size: int) -> Tensor:
    """Maps (N, h, w) on the pixels of the image, (N, size, size), bilinearly and centre on centre."""
    return interpolate(maps[:, None].float(), size=(size, size), mode="bilinear", align_corners=False)[:, 0]


Maker = Callable[[Tensor, Tensor], Tensor]  # images (N, 3, H, W), targets (N,) → maps (N, h, w)


def case_maps(cases: Sequence[Case], inputs: Inputs, maker: Maker, batch_size: int = 16) -> Iterator[Map]:
    """The map of each case on the network's input pixels, for `localise`.

    Args:
        cases: Images and findings.
        inputs: Of the network.
        maker: Such as `partial(grad_cam, model, layer)`.
        batch_size: Images at a time.
    """
    for start in range(0, len(cases), batch_size):
        some = cases[start : start + batch_size]
        images, targets = inputs.images(case.image for case in some), inputs.targets(case.finding for case in some)
        yield from enlarge(maker(images, targets), inputs.transform.size).numpy()
