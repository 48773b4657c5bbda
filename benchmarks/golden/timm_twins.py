"""Twins of timm's layers by their default options."""

from __future__ import annotations

from torch import nn

from awb.attention.timm_layers import FORMER_NAMES
from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {f"timm_{name}": Twin(f"timm_{name}") for name in FORMER_NAMES}
TWINS["splat"] = Twin("timm_splat", {"norm_layer": nn.BatchNorm2d})
