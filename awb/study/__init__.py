"""What an honest multi-label study stands on, whatever the model: nothing here knows of attention blocks.

Labels       LabelTable, read_labels, read_predictions
Losses       BCELoss, FocalLoss, MultiLabelLoss, alpha_from_counts, pos_weight_from_counts
Schedule     TrainingStage, OptimizerSettings, Schedule, two_stage, ScheduleState, Epoch, freeze_parts
Splits       Split, split_by_group, nested_split
Leakage      audit_leakage, require_disjoint
Ranking      auroc, auprc, macro, evaluate, evaluate_subgroups, bands
Intervals    draw_replicates, Replicates, bootstrap, percentile_interval,
             bias_corrected_interval, Interval
Comparison   compare, bootstrap_p, holm
Decisions    choose_thresholds, operating_points, sensitivity_at_specificity
Calibration  evaluate_calibration, brier_score, expected_calibration_error, reliability_curve, fit_temperature,
             apply_temperature
"""

from awb.study.audit import audit_leakage, require_disjoint
from awb.study.group_split import split_by_group
from awb.study.labels import LabelTable, read_labels
from awb.study.losses import BCELoss, FocalLoss, MultiLabelLoss, alpha_from_counts, pos_weight_from_counts
from awb.study.metrics import (
    Interval,
    Replicates,
    apply_temperature,
    auprc,
    auroc,
    bands,
    bias_corrected_interval,
    bootstrap,
    bootstrap_p,
    brier_score,
    choose_thresholds,
    compare,
    draw_replicates,
    evaluate,
    evaluate_calibration,
    evaluate_subgroups,
    expected_calibration_error,
    fit_temperature,
    holm,
    macro,
    operating_points,
    percentile_interval,
    reliability_curve,
    sensitivity_at_specificity,
)
from awb.study.optimizer import OptimizerSettings
from awb.study.parts import freeze_parts
from awb.study.predictions import read_predictions
from awb.study.progress import Epoch, ScheduleState
from awb.study.schedule import Schedule, TrainingStage, two_stage
from awb.study.splits import Split, nested_split

__all__ = [
    "BCELoss",
    "Epoch",
    "FocalLoss",
    "Interval",
    "LabelTable",
    "MultiLabelLoss",
    "OptimizerSettings",
    "Replicates",
    "Schedule",
    "ScheduleState",
    "Split",
    "TrainingStage",
    "alpha_from_counts",
    "apply_temperature",
    "audit_leakage",
    "auprc",
    "auroc",
    "bands",
    "bias_corrected_interval",
    "bootstrap",
    "bootstrap_p",
    "brier_score",
    "choose_thresholds",
    "compare",
    "draw_replicates",
    "evaluate",
    "evaluate_calibration",
    "evaluate_subgroups",
    "expected_calibration_error",
    "fit_temperature",
    "freeze_parts",
    "holm",
    "macro",
    "nested_split",
    "operating_points",
    "percentile_interval",
    "pos_weight_from_counts",
    "read_labels",
    "read_predictions",
    "reliability_curve",
    "require_disjoint",
    "sensitivity_at_specificity",
    "split_by_group",
    "two_stage",
]
