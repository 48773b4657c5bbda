"""Grad-CAM at any N×C×H×W map of a network."""

from __future__ import annotations

from torch import Tensor, nn

from awb import AWBError


def grad_cam(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2), by captum's LayerGradCam.

    Channels are weighted by the mean gradient of the finding's logit and summed; negative values become 0.

    Args:
        model: Network in eval mode; it may be frozen.
        layer: Path of a module whose output is N×C×H×W (`find_layer`).
        images: Inputs, (N, 3, H, W).
        targets: Index of one logit per image, int64 (N,).

    Returns:
        Maps (N, h, w) on the layer's own grid, 0 or more. All 0 where nothing at the layer supports the finding.

    Raises:
        AWBError: The model is in training mode, or the layer's output is not N×C×H×W.
    """
    from captum.attr import LayerGradCam

    if model.training:
        raise AWBError("the model is in training mode, and its batch norms and dropout would change the map: eval()")
    # the inputs require a gradient, so that a frozen network has a graph
    maps = LayerGradCam(model, model.get_submodule(layer)).attribute(
        images.detach().requires_grad_(), target=targets, relu_attributions=True
    )
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise AWBError(f"{layer} gives no N×C×H×W map; name a module that does")
    return maps[:, 0].detach()
