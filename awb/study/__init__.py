"""What an honest multi-label study stands on, whatever the model: it knows nothing of attention blocks.

Labels        LabelTable, read_labels
Ranking       auroc, auprc, macro, evaluate, evaluate_subgroups, bands
Intervals     draw_replicates, Replicates, bootstrap, percentile_interval, Interval
Comparison    compare, bootstrap_p, holm
Decisions     choose_thresholds, operating_points, sensitivity_at_specificity
Calibration   evaluate_calibration, brier_score, expected_calibration_error, reliability_curve, fit_temperature,
              apply_temperature
"""

from awb.study.labels import LabelTable, read_labels
from awb.study.metrics import (
    Interval,
    Replicates,
    apply_temperature,
    auprc,
    auroc,
    bands,
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

__all__ = [
    "Interval",
    "LabelTable",
    "Replicates",
    "apply_temperature",
    "auprc",
    "auroc",
    "bands",
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
    "holm",
    "macro",
    "operating_points",
    "percentile_interval",
    "read_labels",
    "reliability_curve",
    "sensitivity_at_specificity",
]
