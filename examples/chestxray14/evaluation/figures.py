"""Figures of a report: curves of predictions and counts of labels. The caller gives the titles."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from awb import AWBError
from awb.study import ClassCases, LabelTable, auroc, check_cases, reliability_curve
from examples.chestxray14.files.atomic import write_atomically

rcParams["text.parse_math"] = False  # a name between two dollars is not a formula
Binning = Literal["mass", "width"]

DPI = 110
_PALETTE = 64  # colours of a file: enough for lines and bars, and half the bytes
# Okabe and Ito's colours for the colour-blind, less yellow, which white paper swallows
_COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")
_LINES = tuple((colour, dash) for dash, colour in product(("-", "--", ":", "-."), _COLOURS))
_BAR, _OTHER_BAR, _FAINT = "#0072b2", "0.6", "0.6"
_CHARACTERS = 11  # of a title, per inch
_PANELS = 5  # per row


def roc_curves(
    labels: npt.ArrayLike,
    probs: npt.ArrayLike,
    classes: Sequence[str],
    title: str,
    *,
    legend_title: str = "AUROC, finding (positive of known)",
) -> Figure:
    """ROC curve of each finding by scikit-learn's `roc_curve`, with its AUROC in the legend.

    A finding has the same colour and dashes in every figure of the same classes.

    Args:
        labels: 0, 1 or NaN (unknown, left out of that finding), (n, C).
        probs: Probabilities or any other scores, (n, C).
        classes: C names, at most 28: no more lines can be told apart.
        title: Title above the figure.
        legend_title: Title of the legend.

    Returns:
        The figure. Findings with one label only have no curve; a note names them.

    Raises:
        AWBError: Bad arrays, too many classes, or none with both labels.
    """
    from sklearn.metrics import roc_curve

    aurocs = auroc(labels, probs, classes=classes, undefined="skip")
    if len(aurocs) > len(_LINES):
        raise AWBError(f"{len(aurocs)} ROC curves in one figure cannot be told apart; expected at most {len(_LINES)}")
    cases = list(check_cases(labels, probs, classes))
    left_out = ", ".join(f"{known.name} ({known.missing})" for known in cases if known.missing)
    figure = make_figure(9, 6, title, f"Left out, with one label only: {left_out}" if left_out else "")
    axes = figure.add_subplot()
    for known, value, (colour, dash) in zip(cases, aurocs, _LINES, strict=False):
        if not known.missing:
            false_positives, sensitivity, _ = roc_curve(known.y_true, known.values)
            label = f"{value:.3f}  {known.name} ({_positives(known)})"
            axes.plot(false_positives, sensitivity, color=colour, linestyle=dash, linewidth=1.4, label=label)
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, label="0.500  chance")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    legend = axes.legend(
        title=legend_title, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False,
        fontsize="small", title_fontsize="small", handlelength=3,
    )  # fmt: skip
    legend.set_alignment("left")
    return figure


def reliability_curves(
    labels: npt.ArrayLike,
    probs: npt.ArrayLike,
    classes: Sequence[str],
    title: str,
    *,
    n_bins: int = 10,
    binning: Binning = "mass",
) -> Figure:
    """Reliability of each finding in a panel: share of positives against mean probability per bin.

    The bins are those of `awb.study.reliability_curve`. Each panel ends a little above its largest value, so that
    rare findings can be read; the scales differ.

    Args:
        labels: 0, 1 or NaN (unknown, left out of that finding), (n, C).
        probs: Probabilities in 0–1, (n, C).
        classes: C names.
        title: Title above the figure.
        n_bins: Number of bins.
        binning: `mass`: bins of equally many images; `width`: bins of equal width; a rare finding fills one
            or two.

    Returns:
        The figure. The panel of a finding without a known label has no points, and says so.

    Raises:
        AWBError: Bad arrays, a value outside 0–1, or bad bins.
    """
    curve = reliability_curve(labels, probs, n_bins=n_bins, binning=binning, classes=classes)
    cases = list(check_cases(labels, probs, classes, kind="probs"))
    columns = min(_PANELS, len(cases))
    rows = -(-len(cases) // columns)
    bins = "equally many images, as far as ties allow" if binning == "mass" else "equal width"
    note = f"{n_bins} bins of {bins}. A point's area grows with the images in its bin. Scales differ."
    figure = make_figure(max(2.3 * columns, 4), 2.6 * rows + 1, title, note)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, known in zip(panels, cases, strict=False):
        _reliability(axes, known, [row[1:] for row in curve.rows if row[0] == known.name])
    for axes in panels[len(cases) :]:
        axes.remove()
    for place, axes in enumerate(panels[: len(cases)]):
        if place % columns == 0:
            axes.set_ylabel("share of positives")
        if place + columns >= len(cases):
            axes.set_xlabel("mean probability")
    return figure


def label_frequencies(table: LabelTable, title: str, *, exclusive: bool = False) -> Figure:
    """Number of images with each finding, and with none, most frequent first.

    Args:
        table: Labels of one image or more.
        title: Title above the figure.
        exclusive: True for ordinary classes, of which each image has one: there is no bar for images with none.

    Returns:
        The figure. Shares are of the images whose label is known; "no finding" counts images with all labels known
        to be 0.

    Raises:
        AWBError: A table without images.
    """
    _require_images(table)
    known, positive = ~np.isnan(table.labels), table.labels == 1
    healthy = (table.labels == 0).all(axis=1)
    counts = np.array([*positive.sum(axis=0), healthy.sum()])
    totals = [*known.sum(axis=0), (healthy | table.abnormal).sum()]
    names, colours = [*table.classes, "no finding"], [*[_BAR] * len(table.classes), _OTHER_BAR]
    order = np.argsort(-counts[: len(table.classes)] if exclusive else -counts, kind="stable")
    note = "" if known.all() else "Shares are of the images whose label is known."
    figure = make_figure(8, 0.3 * len(order) + 1.4, title, note)
    axes = figure.add_subplot()
    bars = axes.barh([names[i] for i in order], counts[order], color=[colours[i] for i in order])
    texts = [f"{counts[i]:,}, {percent(counts[i] / totals[i])}%" if totals[i] else "no known label" for i in order]
    axes.bar_label(bars, texts, padding=4, fontsize="small")
    axes.set(xlabel=f"images, of {len(table):,}", xlim=(0, 1.18 * max(counts.max(), 1)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(y=0.02)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def co_occurrence(table: LabelTable, title: str) -> Figure:
    """Share (%) of the images with the row's finding that also have the column's; on the diagonal their number.

    Args:
        table: Labels of one image or more.
        title: Title above the figure.

    Returns:
        The figure. Shares are of the images whose label of the column is known; a dash where there is no such image.

    Raises:
        AWBError: A table without images.
    """
    _require_images(table)
    known, positive = (~np.isnan(table.labels)).astype(np.float64), (table.labels == 1).astype(np.float64)
    totals = positive.T @ known  # images with the row's finding where the column's is known
    shares = np.divide(positive.T @ positive, totals, out=np.full_like(totals, np.nan), where=totals > 0)
    np.fill_diagonal(shares, np.nan)
    top = np.nanmax(shares, initial=0) or 1.0
    side = 0.55 * len(table.classes)
    unknown = "" if known.all() else " Shares are of the images where the column's label is known."
    figure = make_figure(side + 3, side + 2, title, f"On the diagonal: the number of images.{unknown}")
    axes = figure.add_subplot()
    colours = colormaps["Blues"].with_extremes(bad="0.93")
    picture = axes.imshow(np.ma.masked_invalid(100 * shares), cmap=colours, vmin=0, vmax=100 * top)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{int(totals[row, row]):,}" if row == column else "–" if np.isnan(share) else percent(share)
        colour = "white" if share > 0.6 * top else "black"
        weight = "bold" if row == column else "normal"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8, fontweight=weight)
    places = range(len(table.classes))
    axes.set_xticks(places, table.classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, table.classes)
    axes.set(xlabel="also has", ylabel="of the images with")
    figure.colorbar(picture, ax=axes, label="%", shrink=0.7)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG of few colours. The same figure gives the same bytes: neither date nor version is in it."""
    drawn, data = io.BytesIO(), io.BytesIO()
    figure.draw_without_rendering()  # lays it out, which takes longer than drawing, and is then not done again
    figure.set_layout_engine("none")
    # tight: beside axes of equal aspect the layout may leave a label outside
    FigureCanvasAgg(figure).print_figure(drawn, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.1)
    with Image.open(drawn, formats=("PNG",)) as picture:
        reduced = picture.convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE)
    reduced.save(data, format="PNG", optimize=True, dpi=(DPI, DPI))
    write_atomically(Path(path), data.getvalue(), shared=True)


def make_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """Make an empty figure with a title above and a note below, both wrapped to its width. Sizes are in inches."""
    figure = Figure((width, height), layout="constrained")
    figure.suptitle(textwrap.fill(title, int(_CHARACTERS * width)))
    if note:
        figure.supxlabel(textwrap.fill(note, int(1.4 * _CHARACTERS * width)), fontsize="small")
    return figure


def _reliability(axes: Axes, known: ClassCases, points: Sequence[Sequence[object]]) -> None:
    """Draw one panel. Points are number of images, mean probability and share of positives per bin."""
    if not points:
        axes.set_title(f"{known.name}\nno known label", fontsize="small")
        axes.set(xticks=[], yticks=[], aspect="equal")
        return
    count, mean, share = np.array(points, dtype=np.float64).T
    limit = 1.08 * max(mean.max(), share.max(), 1e-6)
    axes.plot([0, limit], [0, limit], color=_FAINT, linewidth=0.8, label="calibrated")
    axes.plot(mean, share, color=_BAR, linewidth=0.8)
    axes.scatter(mean, share, s=np.maximum(24 * count / count.max(), 2), color=_BAR, clip_on=False, zorder=3)
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(3))
    axes.tick_params(labelsize="small")
    low, high = int(count.min()), int(count.max())
    images = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    axes.set_title(f"{known.name}\n{_positives(known)} positive\n{images} images a bin", fontsize="small")


def _positives(known: ClassCases) -> str:
    return f"{int(known.y_true.sum()):,} of {len(known.y_true):,}"


def percent(share: float) -> str:
    """A share in percent, without the sign. What is not 0 is never written as 0."""
    return "0" if share == 0 else "<0.1" if share < 0.0005 else f"{100 * share:.1f}"


def _require_images(table: LabelTable) -> None:
    if not len(table) or not table.classes:
        raise AWBError(f"a table of {len(table)} images and {len(table.classes)} classes: there is nothing to draw")
