"""Grad-CAM at any map of a network, of convolutions or of tokens."""

from __future__ import annotations

from torch import Tensor, nn

from awb import AWBError
from examples.chestxray14.explanation.layers import Layer


def grad_cam(model: nn.Module, layer: Layer, images: Tensor, targets: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2), by captum's LayerGradCam.

    Channels are weighted by the mean gradient of the finding's logit and summed; negative values become 0. Tokens
    are laid on their grid; those in front of it (class, registers) are left out.

    Args:
        model: Network in eval mode; it may be frozen.
        layer: A module and the layout of its output (`find_layer`).
        images: Inputs, (N, 3, H, W).
        targets: Index of one logit per image, int64 (N,).

    Returns:
        Maps (N, h, w) on the layer's own grid, 0 or more. All 0 where nothing at the layer supports the finding.

    Raises:
        AWBError: The model is in training mode, or the layer's output is not a map.
    """
    from captum.attr import LayerGradCam

    if model.training:
        raise AWBError("the model is in training mode, and its batch norms and dropout would change the map: eval()")
    with layer.module(model) as module:
        # the inputs require a gradient, so that a frozen network has a graph
        maps = LayerGradCam(model, module).attribute(
            images.detach().requires_grad_(), target=targets, relu_attributions=True
        )
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise AWBError(f"{layer.path} gives no N×C×H×W map; name a module that does")
    return maps[:, 0].detach()
