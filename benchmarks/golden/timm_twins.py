"""Twins of timm's layers by their default options."""

from __future__ import annotations

from torch import nn

from awb.attention.timm_layers import NAMES
from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {f"timm_{name}": Twin(name) for name in NAMES}
TWINS["splat"] = Twin("splat", {"norm_layer": nn.BatchNorm2d})
