"""Attention-Wise Blocks: attention after chosen stages of any vision backbone, exact and reversible.

Attach      attach_awb, detach_awb, awb_disabled, rehook_awb, awb_blocks, bake
Plan        find_stages, plan_awb, summary, profile_placements
Attention   list_attention, attention_info, create_attention, register_attention, receptive_field, capture_attention
Train       replace_head, freeze_backbone, unfreeze_backbone, trainable, param_groups, diagnose,
            awb_parameters
Save        save_awb, load_awb, awb_state_dict
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from awb.attach import attach_awb, awb_blocks, awb_disabled, detach_awb, rehook_awb, summary
from awb.attention import (
    LKA,
    AttentionInfo,
    Paper,
    VANAttention,
    attention_info,
    create_attention,
    list_attention,
    receptive_field,
    register_attention,
)
from awb.bake import bake
from awb.block import AWB
from awb.block_plan import PlannedBlock
from awb.capture import capture_attention
from awb.checkpoint import awb_state_dict, load_awb, save_awb
from awb.diagnose import diagnose
from awb.errors import AWBError, DeadNetworkError, LostBlockError, NoMapError
from awb.head import replace_head
from awb.moved import keep_old_paths
from awb.name_hints import mark_helpers, nearest
from awb.param_groups import param_groups
from awb.plan import AttachmentPlan, plan_awb
from awb.profile import profile_placements
from awb.stages import Site, Stage, find_stages
from awb.table import Table
from awb.tuning import awb_parameters, freeze_backbone, trainable, unfreeze_backbone

if TYPE_CHECKING:
    from awb import study as study

__version__ = "0.1.0"

__all__ = [
    "AWB",
    "LKA",
    "AWBError",
    "AttachmentPlan",
    "AttentionInfo",
    "DeadNetworkError",
    "LostBlockError",
    "NoMapError",
    "Paper",
    "PlannedBlock",
    "Site",
    "Stage",
    "Table",
    "VANAttention",
    "attach_awb",
    "attention_info",
    "awb_blocks",
    "awb_disabled",
    "awb_parameters",
    "awb_state_dict",
    "bake",
    "capture_attention",
    "create_attention",
    "detach_awb",
    "diagnose",
    "find_stages",
    "freeze_backbone",
    "list_attention",
    "load_awb",
    "param_groups",
    "plan_awb",
    "profile_placements",
    "receptive_field",
    "register_attention",
    "rehook_awb",
    "replace_head",
    "save_awb",
    "summary",
    "trainable",
    "unfreeze_backbone",
]


if not TYPE_CHECKING:  # else a type checker would take any name for one of awb's

    def __getattr__(name: str) -> Any:
        """Import `awb.study` on first use, and suggest the nearest public name for an unknown one."""
        if name == "study":
            return import_module("awb.study")
        raise AttributeError(f"module 'awb' has no attribute {name!r}{nearest(name, [*__all__, 'study'])}")


keep_old_paths()
mark_helpers(globals())


def __dir__() -> list[str]:
    """Public names, without the modules that they are imported from."""
    return sorted([*__all__, "study", *(name for name in globals() if name.startswith("__"))])
