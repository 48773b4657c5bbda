"""Attention kinds: LKA, VAN's block, timm's layers, and the registry for your own."""

from awb.attention import timm_layers  # noqa: F401  (registers timm's kinds)
from awb.attention.lka import LKA
from awb.attention.receptive_field import receptive_field
from awb.attention.registry import create_attention, list_attention, register_attention
from awb.attention.van import VANAttention

__all__ = ["LKA", "VANAttention", "create_attention", "list_attention", "receptive_field", "register_attention"]
