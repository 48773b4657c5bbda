"""timm's attention layers as the kinds `timm_se`, `timm_cbam`, …; timm is imported when one of them is built.

They are timm's, not the papers': the parameters of `timm_se`, `timm_cbam`, `timm_coord`, `timm_gc` and `timm_ela`
differ from what the papers define. Before there were kinds by the papers' definitions, these had timm's names.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from awb.attention.info import AttentionInfo, GateName
from awb.attention.registry import name_also, refuse_attention, register_attention

FORMER_NAMES = (
    "cbam", "ceca", "coord", "eca", "ecam", "ela", "ese", "gc", "gca", "lambda",
    "lcbam", "nl", "scoord", "se", "splat", "strip",
)  # fmt: skip
_CHANNEL: tuple[GateName, ...] = ("channel",)
_AXES: tuple[GateName, ...] = ("height", "width")
_GATES: dict[str, tuple[GateName, ...]] = {  # of the others, each adds to its input or replaces it
    **dict.fromkeys(("ceca", "eca", "ecam", "ese", "gc", "se"), _CHANNEL),
    **dict.fromkeys(("coord", "ela", "scoord"), _AXES),
    **dict.fromkeys(("cbam", "lcbam"), (*_CHANNEL, "spatial")),
    "strip": ("element",),
}
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


def _info(name: str) -> AttentionInfo:
    return AttentionInfo(
        f"timm's {name}",
        gates=_GATES.get(name, ()),
        complexity="(H·W)²" if name == "nl" else "H·W",
        identity="exact" if name == "nl" else "gamma",
        source="timm, Apache-2.0",
        notes="timm's layer as it is, with timm's options; another network than the paper's of a like name.",
    )


def by_former_name(name: str) -> str:
    """Name of the kind that was called so before timm's layers were told apart from the papers'."""
    return f"timm_{name}" if name in FORMER_NAMES else name


for _name in FORMER_NAMES:
    register_attention(by_former_name(_name), _info(_name))(TimmAttention(_name))
for _name in ("ceca", "ecam", "gca", "lambda", "lcbam", "nl", "scoord", "splat", "strip"):  # names that no other has
    name_also(f"timm_{_name}", _name)
for _name, _reason in _REASONS.items():
    refuse_attention(_name, _reason)
