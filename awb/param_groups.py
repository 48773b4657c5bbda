"""Parameter groups for optimisers: learning rates and weight decay for new modules and for the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from awb.classifier import find_head
from awb.errors import AWBError
from awb.layer_depth import depths
from awb.tuning import new_parameters


def param_groups(
    model: nn.Module,
    lr: float,
    backbone_lr: float,
    weight_decay: float,
    *,
    layer_decay: float = 1.0,
    head: str | Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Make parameter groups for an optimiser: blocks and head at one learning rate, the backbone at another.

    Biases, norms, scales such as γ, tokens and position embeddings get no weight decay, which would pull LKA's
    identity bias from 1 to 0. Frozen parameters are included (optimisers skip them), so that the same optimiser
    serves after unfreezing.

    Args:
        model: A model with or without blocks.
        lr: Learning rate of the blocks and the head.
        backbone_lr: Learning rate of everything else; with `layer_decay`, of the backbone's last layer.
        weight_decay: Weight decay of the other weights, matrices and kernels.
        layer_decay: Factor between the learning rates of each layer of the backbone and the layer after it, as in BEiT
            (Bao et al., arXiv:2106.08254). Layers are timm's own groups in its networks, elsewhere the elements of
            stacks. Blocks learn at `lr` wherever they sit; `timm.optim.param_groups_layer_decay` would give a fresh
            block the rate of the old layer that it follows.
        head: Paths of the head's modules, as in `freeze_backbone`.

    Returns:
        Up to four groups (with `layer_decay`: two for the new modules and two per layer), each with a `name`.

    Raises:
        AWBError: As in `freeze_backbone`, or `layer_decay` is not a factor above 0 and up to 1.
    """
    if not isinstance(layer_decay, int | float) or not 0 < layer_decay <= 1:
        raise AWBError(f"layer_decay={layer_decay!r}: expected a factor above 0 and up to 1, such as 0.75")
    parameters = dict(model.named_parameters())
    new = new_parameters(model, find_head(model, head))
    norms = {id(p) for m in model.modules() if "Norm" in type(m).__name__ for p in m.parameters(recurse=False)}
    depth = {} if layer_decay == 1 else depths(model, {id(p) for p in parameters.values()} - new)
    last = max(depth.values(), default=0)
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in parameters.items():
        part, rate = "new", lr
        if id(parameter) not in new:
            number = depth.get(id(parameter))
            part = "backbone" if number is None else f"backbone layer {number}"
            rate = backbone_lr if number is None else backbone_lr * layer_decay ** (last - number)
        # a kernel or a matrix; tokens, position embeddings and scales have other names
        decayed = parameter.ndim > 1 and name.endswith("weight") and id(parameter) not in norms
        key = f"{part}, {'decay' if decayed else 'no decay'}"
        decay = weight_decay if decayed else 0.0
        group = groups.setdefault(key, {"name": key, "params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())
