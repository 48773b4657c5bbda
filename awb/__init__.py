"""Attention-Wise Blocks: attention after chosen stages of any vision backbone, exact and reversible.

Find and attach: find_stages, plan_awb, attach_awb, detach_awb, awb_disabled, summary.
"""

from awb.attach import (
    apply_plan,
    attach_awb,
    awb_blocks,
    awb_disabled,
    detach_awb,
    rehook_awb,
    summary,
)
from awb.attention import LKA, VANAttention, create_attention, list_attention, receptive_field, register_attention
from awb.plan import AttachmentPlan, plan_awb
from awb.stages import Site, Stage, find_stages
from awb.profile import profile_placements
