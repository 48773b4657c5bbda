"""Labels, losses, schedules, splits, metrics and intervals for studies of any model, multi-label or of one class each.

Nothing here knows of attention blocks.

Labels       LabelTable, read_labels, read_predictions, write_predictions
Own readers  open_text, require_commas, age_in_years, is_missing, patient_key
Losses       BCELoss, FocalLoss, CrossEntropyLoss, MultiLabelLoss, KnownLabelLoss,
             alpha_from_counts, pos_weight_from_counts, class_weights_from_counts
Schedule     TrainingStage, OptimizerSettings, Schedule, two_stage, ScheduleState, Epoch, freeze_parts
Splits       Split, split_by_group, nested_split
Leakage      audit_leakage, require_disjoint
Ranking      auroc, auprc, macro, evaluate, evaluate_subgroups, bands
Intervals    draw_replicates, Replicates, bootstrap, percentile_interval,
             bias_corrected_interval, Interval
Comparison   compare, estimate, Estimates, bootstrap_p, holm
Decisions    choose_thresholds, operating_points, sensitivity_at_specificity
Calibration  evaluate_calibration, brier_score, expected_calibration_error, reliability_curve, fit_temperature,
             apply_temperature
One class    of an image: evaluate_classes, evaluate_each_class, confusion_matrix, CountShare, compare_classes,
             estimate_classes, accuracy, balanced_accuracy, evaluate_class_calibration, top_class,
             fit_softmax_temperature, apply_softmax_temperature
Own tables   check_cases, Cases, ClassCases, interval_header, or_none
"""

from awb.study.ages import age_in_years
from awb.study.audit import audit_leakage, require_disjoint
from awb.study.cross_entropy import CrossEntropyLoss, class_weights_from_counts
from awb.study.files import open_text, require_commas
from awb.study.freezing import freeze_parts
from awb.study.group_split import split_by_group
from awb.study.known_label_loss import KnownLabelLoss
from awb.study.label_table import LabelTable
from awb.study.labels import read_labels
from awb.study.losses import BCELoss, FocalLoss, MultiLabelLoss, alpha_from_counts, pos_weight_from_counts
from awb.study.metrics import (
    Cases,
    ClassCases,
    CountShare,
    Estimates,
    Interval,
    Replicates,
    accuracy,
    apply_softmax_temperature,
    apply_temperature,
    auprc,
    auroc,
    balanced_accuracy,
    bands,
    bias_corrected_interval,
    bootstrap,
    bootstrap_p,
    brier_score,
    check_cases,
    choose_thresholds,
    compare,
    compare_classes,
    confusion_matrix,
    draw_replicates,
    estimate,
    estimate_classes,
    evaluate,
    evaluate_calibration,
    evaluate_class_calibration,
    evaluate_classes,
    evaluate_each_class,
    evaluate_subgroups,
    expected_calibration_error,
    fit_softmax_temperature,
    fit_temperature,
    holm,
    interval_header,
    macro,
    operating_points,
    or_none,
    percentile_interval,
    reliability_curve,
    sensitivity_at_specificity,
    top_class,
)
from awb.study.names import is_missing, patient_key
from awb.study.optimizer import OptimizerSettings
from awb.study.predictions import read_predictions, write_predictions
from awb.study.schedule import Schedule, TrainingStage, two_stage
from awb.study.schedule_state import Epoch, ScheduleState
from awb.study.splits import Split, nested_split

__all__ = [
    "BCELoss",
    "Cases",
    "ClassCases",
    "CountShare",
    "CrossEntropyLoss",
    "Epoch",
    "Estimates",
    "FocalLoss",
    "Interval",
    "KnownLabelLoss",
    "LabelTable",
    "MultiLabelLoss",
    "OptimizerSettings",
    "Replicates",
    "Schedule",
    "ScheduleState",
    "Split",
    "TrainingStage",
    "accuracy",
    "age_in_years",
    "alpha_from_counts",
    "apply_softmax_temperature",
    "apply_temperature",
    "audit_leakage",
    "auprc",
    "auroc",
    "balanced_accuracy",
    "bands",
    "bias_corrected_interval",
    "bootstrap",
    "bootstrap_p",
    "brier_score",
    "check_cases",
    "choose_thresholds",
    "class_weights_from_counts",
    "compare",
    "compare_classes",
    "confusion_matrix",
    "draw_replicates",
    "estimate",
    "estimate_classes",
    "evaluate",
    "evaluate_calibration",
    "evaluate_class_calibration",
    "evaluate_classes",
    "evaluate_each_class",
    "evaluate_subgroups",
    "expected_calibration_error",
    "fit_softmax_temperature",
    "fit_temperature",
    "freeze_parts",
    "holm",
    "interval_header",
    "is_missing",
    "macro",
    "nested_split",
    "open_text",
    "operating_points",
    "or_none",
    "patient_key",
    "percentile_interval",
    "pos_weight_from_counts",
    "read_labels",
    "read_predictions",
    "reliability_curve",
    "require_commas",
    "require_disjoint",
    "sensitivity_at_specificity",
    "split_by_group",
    "top_class",
    "two_stage",
    "write_predictions",
]
