"""What an honest multi-label study stands on, whatever the model: nothing here knows of attention blocks.

Labels      LabelTable, read_labels
Losses      BCELoss, FocalLoss, MultiLabelLoss, alpha_from_counts
Schedule    TrainingStage, OptimizerSettings, Schedule, two_stage, ScheduleState, Epoch, freeze_parts
Splits      Split, split_by_group, nested_split
Leakage     audit_leakage, require_disjoint
"""

from awb.study.audit import audit_leakage, require_disjoint
from awb.study.group_split import split_by_group
from awb.study.labels import LabelTable, read_labels
from awb.study.losses import BCELoss, FocalLoss, MultiLabelLoss, alpha_from_counts
from awb.study.optimizer import OptimizerSettings
from awb.study.parts import freeze_parts
from awb.study.progress import Epoch, ScheduleState
from awb.study.schedule import Schedule, TrainingStage, two_stage
from awb.study.splits import Split, nested_split

__all__ = [
    "BCELoss",
    "Epoch",
    "FocalLoss",
    "LabelTable",
    "MultiLabelLoss",
    "OptimizerSettings",
    "Schedule",
    "ScheduleState",
    "Split",
    "TrainingStage",
    "alpha_from_counts",
    "audit_leakage",
    "freeze_parts",
    "nested_split",
    "read_labels",
    "require_disjoint",
    "split_by_group",
    "two_stage",
]
