"""Figures of ordinary classes: confusion matrix, ROC curves against the rest, reliability of the predicted class.

`CURVES` has the figures of a run's test set, of findings as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from awb.study import confusion_matrix, reliability_curve, top_class
from examples.chestxray14.evaluation.figures import make_figure, percent, reliability_curves, roc_curves
from examples.chestxray14.recipes.stage_settings import Task

Draw = Callable[[npt.ArrayLike, npt.ArrayLike, Sequence[str], str], Figure]
_BAR, _FAINT = "#0072b2", "0.6"
_BINS, _FEWEST = 10, 30  # bins at most, and images in each at least
_TEXT = 20  # most classes whose cells are written out


def confusion_picture(labels: npt.ArrayLike, probs: npt.ArrayLike, classes: Sequence[str], title: str) -> Figure:
    """Confusion matrix: share (%) and number of the images of the row's class that are predicted as the column's.

    Args:
        labels: One-hot labels, or NaN where the class is not known, (n, C).
        probs: Probabilities (n, C).
        classes: C names.
        title: Title above the figure.

    Raises:
        AWBError: Bad arrays, or a row that is not one-hot.
    """
    table = confusion_matrix(labels, probs, classes=classes)
    shares = np.array([[np.nan if cell is None else cell.share for cell in row[2:]] for row in table.rows])
    side = max(0.75 * len(classes), 1.5)
    note = "Of each row's images, the share (%) predicted as the column's class; below it their number."
    figure = make_figure(side + 3.5, side + 2.2, title, note)
    axes = figure.add_subplot()
    colours = colormaps["Blues"].with_extremes(bad="0.93")
    picture = axes.imshow(np.ma.masked_invalid(100 * shares), cmap=colours, vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        if len(classes) <= _TEXT:
            cell = table.rows[row][2 + column]
            text = "–" if cell is None else f"{percent(share)}\n{cell.number:,}"
            weight = "bold" if row == column else "normal"
            colour = "white" if share > 0.6 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8, fontweight=weight)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, [f"{row[0]} ({row[1]:,})" for row in table.rows])
    axes.set(xlabel="predicted class", ylabel="class (images)")
    figure.colorbar(picture, ax=axes, label="% of the row", shrink=0.7)
    return figure


def class_roc_curves(labels: npt.ArrayLike, probs: npt.ArrayLike, classes: Sequence[str], title: str) -> Figure:
    """ROC curve of each class against the rest; as `roc_curves`."""
    return roc_curves(labels, probs, classes, title, legend_title="AUROC against the rest, class (images of known)")


def predicted_class_reliability(
    labels: npt.ArrayLike, probs: npt.ArrayLike, classes: Sequence[str], title: str
) -> Figure:
    """Reliability of the predicted class: share of right predictions against its mean probability, per bin.

    Bins are of equally many images, as far as ties allow: at most 10, and of 30 images or more, since a share of fewer
    says little.

    Args:
        labels: One-hot labels, or NaN where the class is not known, (n, C).
        probs: Probabilities (n, C).
        classes: C names.
        title: Title above the figure.

    Raises:
        AWBError: Bad arrays, or a row that is not one-hot.
    """
    right, confidence = top_class(labels, probs)
    n_bins = min(max(int((~np.isnan(right)).sum()) // _FEWEST, 1), _BINS)
    curve = reliability_curve(right, confidence, n_bins=n_bins, binning="mass")
    count, mean, share = np.array([row[1:] for row in curve.rows], dtype=np.float64).T
    lowest = 1 / len(classes)  # the most probable of C classes has at least 1 / C
    figure = make_figure(5.5, 6, title, f"Bins of equally many images, as far as ties allow: {n_bins}.")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, label="calibrated")
    axes.plot(mean, share, color=_BAR, linewidth=0.8)
    axes.scatter(mean, share, s=30, color=_BAR, clip_on=False, zorder=3)
    axes.axvspan(0, lowest, color="0.95", zorder=0, label=f"below 1/{len(classes)}: cannot be")
    axes.set(xlabel="mean probability of the predicted class", ylabel="share of right predictions", aspect="equal")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    low, high = int(count.min()), int(count.max())
    images = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    known = ~np.isnan(right)
    axes.set_title(
        f"{int(right[known].sum()):,} of {int(known.sum()):,} right; {images} images a bin", fontsize="small"
    )
    axes.legend(frameon=False, fontsize="small", loc="lower right")
    return figure


CURVES: Mapping[Task, Mapping[str, tuple[Draw, str]]] = {  # caption: function, and word in the file's name
    "findings": {
        "ROC curves": (roc_curves, "roc"),
        "Reliability curves": (reliability_curves, "reliability"),
    },
    "classes": {
        "Confusion matrix": (confusion_picture, "confusion"),
        "ROC curves": (class_roc_curves, "roc"),
        "Reliability of the predicted class": (predicted_class_reliability, "reliability"),
    },
}
