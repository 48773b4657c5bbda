"""Attention kinds: one file each, and the registry for these and your own."""

from awb.attention import affinity, channel, large_kernel, spatial, timm_layers  # noqa: F401  (register their kinds)
from awb.attention.info import AttentionInfo, Paper
from awb.attention.large_kernel.lka import LKA
from awb.attention.large_kernel.van import VANAttention
from awb.attention.receptive_field import receptive_field
from awb.attention.registry import attention_info, create_attention, list_attention, register_attention

__all__ = [
    "LKA",
    "AttentionInfo",
    "Paper",
    "VANAttention",
    "attention_info",
    "create_attention",
    "list_attention",
    "receptive_field",
    "register_attention",
]
