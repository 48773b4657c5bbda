"""Layer of a network at which a map is made."""

from __future__ import annotations

import copy

from torch import nn

import awb
from awb import AWBError
from awb.errors import did_you_mean

LAST = "last"


def find_layer(model: nn.Module, where: int | str = LAST, input_size: int | None = None) -> str:
    """Path of the module from whose output a map is made.

    Args:
        model: Network, with blocks or without.
        where: `"last"`: the last map before pooling, where `attach_awb(model, "after")` would put a block; a
            number: the block of that stage; or a path. A module with a block behind it gives the block's output.
        input_size: Side of the input in pixels; by default the size that the model was built for.

    Raises:
        AWBError: No such module or block, a network that awb does not know (then name a path), or an output that is
            not N×C×H×W.
    """
    if isinstance(where, int):
        blocks = [block.planned for block in awb.awb_blocks(model).values()]
        sites = [planned.site for planned in blocks if planned.stage == where]
        if not sites:
            raise AWBError(f"no block at stage {where}; there are blocks at {[str(p.stage or p.site) for p in blocks]}")
        site = sites[0]
    elif where == LAST:
        (planned,) = awb.plan_awb(_without_blocks(model), "after", input_size=input_size).blocks
        site = planned.site
    else:
        paths = dict(model.named_modules())
        if where not in paths:
            raise AWBError(f"no module {where!r}{did_you_mean(where, paths)}; or {LAST!r}, or the number of a stage")
        bare = _without_blocks(model)
        if where not in dict(bare.named_modules()):  # a block, or a part of one: these run on N×C×H×W
            return where
        (planned,) = awb.plan_awb(bare, where, input_size=input_size, allow_dead=True).blocks
        site = planned.site
    if site.layout != "NCHW" or site.element is not None:
        raise AWBError(f"{site} gives {site.layout}; Grad-CAM needs a module that gives N×C×H×W")
    return where if isinstance(where, str) and where != LAST else site.module


def _without_blocks(model: nn.Module) -> nn.Module:
    return awb.detach_awb(copy.deepcopy(model)) if awb.awb_blocks(model) else model
