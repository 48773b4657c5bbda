"""Metrics of multi-label predictions, with patient-clustered intervals: arrays in, tables out.

All functions take arrays of n images and C classes (tensors and lists too), and one axis, (n,), for one class:

Labels (n, C)         0, 1 or NaN: unknown, and the image is left out of that class
Scores (n, C)         any numbers that grow with the finding: logits and probabilities alike
Probabilities (n, C)  0 to 1
Logits (n, C)         numbers before the sigmoid
Groups (n,)           the patient of each image, whom the bootstrap draws; range(n) if images are independent
classes               C names; by default class 0, class 1, …

Functions with `class` in their names, and `confusion_matrix`, are for ordinary classification: labels with one 1 per
row, or NaN where the class is not known, and probabilities of sum 1.

Bad arrays are refused with the class and the row: other shapes, no images, a label other than 0, 1 and NaN, a
prediction that is not finite, a number of names other than C.
"""

from awb.study.metrics.accuracy import accuracy, balanced_accuracy
from awb.study.metrics.bootstrap import bootstrap
from awb.study.metrics.calibration import (
    brier_score,
    evaluate_calibration,
    expected_calibration_error,
    reliability_curve,
)
from awb.study.metrics.cases import Cases, ClassCases, check_cases
from awb.study.metrics.class_calibration import (
    apply_softmax_temperature,
    evaluate_class_calibration,
    fit_softmax_temperature,
    top_class,
)
from awb.study.metrics.class_measures import estimate_classes
from awb.study.metrics.compare import compare
from awb.study.metrics.compare_classes import compare_classes
from awb.study.metrics.confusion import CountShare, confusion_matrix
from awb.study.metrics.estimates import Estimates, estimate
from awb.study.metrics.evaluate import evaluate
from awb.study.metrics.evaluate_classes import evaluate_classes, evaluate_each_class
from awb.study.metrics.intervals import Interval, bias_corrected_interval, percentile_interval
from awb.study.metrics.p_values import bootstrap_p, holm
from awb.study.metrics.ranking import auprc, auroc, macro
from awb.study.metrics.replicates import Replicates, draw_replicates
from awb.study.metrics.subgroups import bands, evaluate_subgroups
from awb.study.metrics.table_columns import interval_header, or_none
from awb.study.metrics.temperature import apply_temperature, fit_temperature
from awb.study.metrics.thresholds import choose_thresholds, operating_points, sensitivity_at_specificity

__all__ = [
    "Cases",
    "ClassCases",
    "CountShare",
    "Estimates",
    "Interval",
    "Replicates",
    "accuracy",
    "apply_softmax_temperature",
    "apply_temperature",
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
    "holm",
    "interval_header",
    "macro",
    "operating_points",
    "or_none",
    "percentile_interval",
    "reliability_curve",
    "sensitivity_at_specificity",
    "top_class",
]
