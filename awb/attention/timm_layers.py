"""timm's attention layers as kinds; timm is imported when one of them is built."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from awb.attention.registry import refuse_attention, register_attention

NAMES = (
    "cbam", "ceca", "coord", "eca", "ecam", "ela", "ese", "gc", "gca", "lambda",
    "lcbam", "nl", "scoord", "se", "splat", "strip",
)  # fmt: skip
_REASONS = {
    "ge": "timm's GatherExcite cannot be built (it passes act_layer to ConvMlp twice)",
    "bottleneck": "it needs the map's size when it is built, and works at that size only",
    "halo": "it needs map sides that its block size divides",
    "bat": "it needs map sides that its block size divides",
    "sk": "it cannot train at batch size 1 (batch norm over one value per channel)",
}


def _layer(name: str) -> Any:
    if name == "nl":
        from awb.attention.non_local import NonLocal

        return NonLocal
    from timm.layers import get_attn

    return get_attn(name)


class TimmAttention:
    """A factory for one of timm's layers, with that layer's own options."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, channels: int, **kwargs: Any) -> nn.Module:
        module = _layer(self.name)(channels, **kwargs)
        assert isinstance(module, nn.Module)
        return module

    @property
    def __signature__(self) -> inspect.Signature:
        parameters = inspect.signature(_layer(self.name)).parameters.values()
        # some take **_ and drop what they do not know: their named options are all they have
        return inspect.Signature([p for p in parameters if p.kind is not p.VAR_KEYWORD])


for _name in NAMES:
    register_attention(_name)(TimmAttention(_name))
for _name, _reason in _REASONS.items():
    refuse_attention(_name, _reason)
