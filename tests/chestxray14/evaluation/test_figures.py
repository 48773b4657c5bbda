"""What is drawn is what was counted: lines, points, bars and cells are read back and computed again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from awb import AWBError
from awb.study import LabelTable, open_text
from examples.chestxray14.data.boxes import Box, Boxes
from examples.chestxray14.data.nih import packaged_data_entry
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.evaluation.figures import (
    DPI,
    co_occurrence,
    label_frequencies,
    reliability_curves,
    roc_curves,
    save,
)
from examples.chestxray14.explanation.pictures import MARGIN, example_boxes, first_boxed, overlay

CLASSES = ("Mass", "Nodule", "Edema", "Hernia")
N, SIDE = 200, 256
GREEN = (0, 255, 120)


@pytest.fixture
def labels() -> np.ndarray:
    """Of four findings, the last always absent; a tenth unknown, of the first three."""
    generator = np.random.default_rng(0)
    values = (generator.random((N, 4)) < [0.4, 0.2, 0.1, 0]).astype(float)
    values[:, :3][generator.random((N, 3)) < 0.1] = np.nan
    return values


@pytest.fixture
def probs(labels: np.ndarray) -> np.ndarray:
    """Of two decimals, so that there are ties."""
    generator = np.random.default_rng(1)
    return np.round(np.clip(0.2 * np.nan_to_num(labels) + 0.5 * generator.random(labels.shape) ** 2, 0, 1), 2)


@pytest.fixture
def table(labels: np.ndarray) -> LabelTable:
    return LabelTable(np.array([f"{i}.png" for i in range(N)]), CLASSES, labels)


def lines(figure: Figure) -> dict[str, Line2D]:
    """Of an ROC figure, by finding; the chance line is `chance`."""
    named = {str(line.get_label()).split("  ")[1].split(" (")[0]: line for line in figure.axes[0].lines}
    assert len(named) == len(figure.axes[0].lines)
    return named


def lines_of(labels: np.ndarray, probs: np.ndarray, names: list[str]) -> list[tuple[str, Line2D]]:
    return list(lines(roc_curves(labels, probs, names, "T")).items())


def widths(axes: object) -> list[float]:
    return [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]


def known(labels: np.ndarray, probs: np.ndarray, c: int) -> tuple[np.ndarray, np.ndarray]:
    rows = ~np.isnan(labels[:, c])
    return labels[rows, c], probs[rows, c]


def note(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def test_the_area_under_each_roc_line_is_its_auroc_and_the_legends(labels: np.ndarray, probs: np.ndarray) -> None:
    drawn = lines(roc_curves(labels, probs, CLASSES, "T"))
    for c, name in enumerate(CLASSES[:3]):
        x, y = drawn[name].get_data()
        area = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
        assert area == pytest.approx(roc_auc_score(*known(labels, probs, c)))
        assert str(drawn[name].get_label()).startswith(f"{area:.3f}  ")
        assert str(drawn[name].get_label()).endswith(
            f"({int(np.nansum(labels[:, c]))} of {(~np.isnan(labels[:, c])).sum()})"
        )


def test_a_finding_with_one_label_only_has_no_roc_line_and_is_named(labels: np.ndarray, probs: np.ndarray) -> None:
    figure = roc_curves(labels, probs, CLASSES, "T")
    assert set(lines(figure)) == {"Mass", "Nodule", "Edema", "chance"}
    assert note(figure) == "Left out, with one label only: Hernia (no positive)"
    assert note(roc_curves(labels[:, :3], probs[:, :3], CLASSES[:3], "T")) == ""


def test_roc_lines_can_be_told_apart_and_keep_their_looks_when_another_is_left_out() -> None:
    generator = np.random.default_rng(2)
    labels, probs = generator.integers(0, 2, (40, 28)).astype(float), generator.random((40, 28))
    names = [f"finding {c}" for c in range(28)]
    looks = {name: (line.get_color(), line.get_linestyle()) for name, line in lines_of(labels, probs, names)}
    assert len(set(looks.values())) == 29  # chance is one
    labels[:, 3] = 1
    fewer = {name: (line.get_color(), line.get_linestyle()) for name, line in lines_of(labels, probs, names)}
    assert fewer == {name: look for name, look in looks.items() if name != "finding 3"}
    with pytest.raises(AWBError, match="29 ROC curves in one figure cannot be told apart; expected at most 28"):
        roc_curves(np.c_[labels, labels[:, :1]], np.c_[probs, probs[:, :1]], [*names, "one more"], "T")


def test_no_finding_with_both_labels_is_no_figure(probs: np.ndarray) -> None:
    with pytest.raises(AWBError, match="AUROC is not defined where there is one label only"):
        roc_curves(np.zeros_like(probs), probs, CLASSES, "T")


@pytest.mark.parametrize(("binning", "strategy"), [("mass", "quantile"), ("width", "uniform")])
def test_reliability_points_are_scikit_learns(
    labels: np.ndarray, probs: np.ndarray, binning: str, strategy: str
) -> None:
    probs = np.random.default_rng(3).random(labels.shape) ** 3  # no ties, at which its quantiles repeat
    figure = reliability_curves(labels, probs, CLASSES, "T", n_bins=8, binning=binning)  # type: ignore[arg-type]
    for c, axes in enumerate(figure.axes):
        (points,) = [one for one in axes.collections if isinstance(one, PathCollection)]
        shares, means = calibration_curve(*known(labels, probs, c), n_bins=8, strategy=strategy)
        np.testing.assert_allclose(points.get_offsets(), np.c_[means, shares], atol=1e-12)


def test_reliability_points_and_their_areas_are_those_of_a_count_by_hand() -> None:
    labels = np.array([[0.0], [0], [1], [np.nan], [1], [1], [0], [0]])
    probs = np.array([[0.1], [0.2], [0.3], [0.3], [0.6], [0.9], [0.7], [0.1]])
    (axes,) = reliability_curves(labels, probs, ["Mass"], "T", n_bins=2, binning="width").axes
    (points,) = axes.collections
    np.testing.assert_allclose(points.get_offsets(), [[0.7 / 4, 1 / 4], [2.2 / 3, 2 / 3]])
    sizes = points.get_sizes()  # type: ignore[attr-defined]
    assert sizes[1] / sizes[0] == pytest.approx(3 / 4)
    assert axes.get_title() == "Mass\n3 of 7 positive\n3–4 images a bin"


def test_a_panel_holds_all_its_points_and_is_no_larger_than_they_need(labels: np.ndarray) -> None:
    probs = 0.01 * np.random.default_rng(4).random(labels.shape)
    figure = reliability_curves(labels, probs, CLASSES, "T")
    for axes in figure.axes:
        largest = axes.collections[0].get_offsets().max()
        assert axes.get_xlim() == axes.get_ylim()
        assert axes.get_xlim()[0] == 0
        assert largest < axes.get_xlim()[1] < 1.2 * largest
    assert figure.axes[3].get_xlim()[1] < 0.012


def test_a_finding_without_a_known_label_says_so_in_its_panel(labels: np.ndarray, probs: np.ndarray) -> None:
    labels[:, 1] = np.nan
    panels = reliability_curves(labels, probs, CLASSES, "T").axes
    assert len(panels) == 4
    assert panels[1].get_title() == "Nodule\nno known label"
    assert not panels[1].collections


def test_bars_are_counts_sorted_and_images_that_may_have_a_finding_are_not_said_to_have_none() -> None:
    nan = np.nan
    labels = [[1, 0, nan], [1, 1, nan], [0, 0, nan], [0, 0, nan], [nan, 0, nan]]
    table = LabelTable(np.array(list("abcde")), ("A", "B", "C"), np.array(labels, dtype=float))
    (axes,) = label_frequencies(table, "T").axes
    counts = dict(zip([tick.get_text() for tick in axes.get_yticklabels()], widths(axes), strict=True))
    assert counts == {"A": 2, "B": 1, "C": 0, "no finding": 0}
    assert [text.get_text() for text in axes.texts] == ["2, 50.0%", "1, 20.0%", "no known label", "0, 0%"]
    known_table = LabelTable(table.images, ("A", "B"), np.nan_to_num(table.labels[:, :2]))
    figure = label_frequencies(known_table, "T")
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["no finding", "A", "B"]
    assert widths(figure.axes[0]) == [3, 2, 1]
    assert note(figure) == ""


@pytest.mark.slow
def test_nihs_bars_are_the_counts_of_its_file(nih: LabelTable) -> None:
    axes = label_frequencies(nih, "T").axes[0]
    texts = {tick.get_text(): text.get_text() for tick, text in zip(axes.get_yticklabels(), axes.texts, strict=True)}
    with open_text(packaged_data_entry()) as file:
        rows = file.read().splitlines()[1:]
    for name, text in (("no finding", "No Finding"), ("Hernia", "Hernia")):
        count = sum(text in row for row in rows)
        assert texts[name] == f"{count:,}, {count / len(rows):.1%}"
    assert widths(axes) == sorted(widths(axes), reverse=True)


def test_cells_are_direct_counts(table: LabelTable) -> None:
    axes = co_occurrence(table, "T").axes[0]
    drawn = axes.images[0].get_array()
    texts = np.array([text.get_text() for text in axes.texts]).reshape(4, 4)
    assert texts[np.diag_indices(4)].tolist() == [str(int(np.nansum(table.labels[:, c]))) for c in range(4)]
    for row in range(4):
        for column in range(4):
            with_row = [image for image in table.labels if image[row] == 1 and not np.isnan(image[column])]
            if row == column or not with_row:
                assert drawn.mask[row, column]
                assert row == column or texts[row, column] == "–"
            else:
                share = 100 * sum(image[column] == 1 for image in with_row) / len(with_row)
                assert drawn[row, column] == pytest.approx(share)
                assert texts[row, column] == (f"{share:.1f}" if share else "0")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(CLASSES)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(CLASSES)


def test_a_rare_pair_is_not_said_to_be_none() -> None:
    labels = np.array([[1.0, 0]] * 2999 + [[1, 1]])
    table = LabelTable(np.arange(3000).astype(str), ("A", "B"), labels)
    assert [text.get_text() for text in co_occurrence(table, "T").axes[0].texts] == ["3,000", "<0.1", "100.0", "1"]


def test_a_table_without_images_is_refused(table: LabelTable) -> None:
    for draw in (label_frequencies, co_occurrence):
        with pytest.raises(AWBError, match="0 images and 4 classes: there is nothing to draw"):
            draw(table.take([]), "T")


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes_and_the_title_as_it_is(
    table: LabelTable, probs: np.ndarray, tmp_path: Path
) -> None:
    title = "SYNTHETIC phantoms at $1 and $2"  # no formula
    draws = {
        "roc": lambda: roc_curves(table.labels, probs, CLASSES, title),
        "reliability": lambda: reliability_curves(table.labels, probs, CLASSES, title),
        "frequencies": lambda: label_frequencies(table, title),
        "co-occurrence": lambda: co_occurrence(table, title),
    }
    for name, draw in draws.items():
        paths = [tmp_path / f"{name} {i}.png" for i in range(2)]
        for path in paths:
            figure = draw()
            assert figure.get_suptitle().replace("\n", " ") == title
            save(figure, path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        with Image.open(paths[0]) as image:
            assert set(image.info) == {"dpi"}
            assert image.info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)


@pytest.mark.slow
def test_figures_leave_pyplot_alone() -> None:
    code = "import sys; import examples.chestxray14.evaluation.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_first_boxed_image_does_not_depend_on_the_order_of_the_boxes() -> None:
    boxes = [
        Box("b.png", "Mass", 1, 1, 2, 2), Box("a.png", "Mass", 3, 3, 2, 2), Box("a.png", "Nodule", 5, 5, 1, 1),
        Box("a.png", "Mass", 7, 7, 2, 2), Box("c.png", "Edema", 7, 7, 2, 2),
    ]  # fmt: skip
    chosen = first_boxed(boxes, ("Nodule", "Hernia", "Mass"))
    assert list(chosen) == ["Nodule", "Mass"]
    assert chosen["Mass"] == (boxes[1], boxes[3])
    turned = first_boxed(boxes[::-1], ("Nodule", "Hernia", "Mass"))
    assert {finding: set(of) for finding, of in turned.items()} == {f: set(of) for f, of in chosen.items()}


def test_the_sheet_shows_each_findings_first_image_with_its_own_boxes(stored: Path) -> None:
    store = ImageStore.open(stored / "store")
    a, b = sorted(store.names)[:2]
    boxes = Boxes(
        1024,
        (Box(b, "Mass", 512, 256, 128, 256), Box(a, "Nodule", 0, 0, 64, 64), Box("elsewhere", "Edema", 1, 1, 9, 9)),
    )
    page = example_boxes(store, boxes, "T", ("Mass", "Nodule", "Edema"), columns=2)
    assert page.size == (2 * SIDE, MARGIN + MARGIN + SIDE + MARGIN)  # title, captions, pictures, and what has no box
    whole = example_boxes(store, boxes, "T", ("Mass", "Nodule"), columns=1)
    assert whole.size == (SIDE, MARGIN + 2 * (MARGIN + SIDE))
    for i, (name, x, y, width, height) in enumerate([(b, 128, 64, 32, 64), (a, 0, 0, 16, 16)]):
        image = Image.fromarray(store[name]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        expected = np.asarray(overlay(image, None, [Box(name, "", x, y, width, height)]))
        shown = np.asarray(page)[2 * MARGIN : 2 * MARGIN + SIDE, i * SIDE : (i + 1) * SIDE]
        differs = (shown != expected).any(axis=2)
        assert differs.sum() <= 1  # the corner of a caption without a letter
        assert {tuple(shown[y, x]), tuple(shown[y + height - 1, x + width - 1])} == {GREEN}


def test_a_store_without_a_boxed_image_is_refused(stored: Path) -> None:
    store = ImageStore.open(stored / "store")
    boxes = Boxes(1024, (Box(store.names[0], "Mass", 1, 1, 9, 9),))
    with pytest.raises(AWBError, match="has a box of Nodule, Edema"):
        example_boxes(store, boxes, "T", ("Nodule", "Edema"))
