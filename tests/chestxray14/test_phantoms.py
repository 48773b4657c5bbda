"""Phantoms depend on their seed only, are labelled in NIH's proportions, and show what their labels and boxes say."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awb import AWBError
from awb.study import LabelTable, require_disjoint
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.nih import FINDINGS, read_data_entry, read_list
from examples.chestxray14.phantoms import Phantoms, draw_phantoms
from examples.chestxray14.phantoms.cases import ABNORMAL_SHARE, BOOST, Case, draw_cases
from examples.chestxray14.phantoms.nih_counts import count_combinations, nih_counts
from examples.chestxray14.phantoms.signs import DIFFUSE
from examples.chestxray14.phantoms.write import PAINTER, write_phantoms

LOCALISED = [finding for finding in FINDINGS if finding not in DIFFUSE]
HEALTHY = Case(7, 0, (), 0, "PA", "M", 50)


def with_finding(finding: str, patient: int) -> Phantoms:
    """One patient twice: healthy, and with a finding; all else is the same."""
    case = replace(HEALTHY, patient=patient)
    return Phantoms(0, (case, replace(case, findings=(finding,))))


def difference(phantoms: Phantoms, size: int = 128) -> np.ndarray:
    healthy, ill = (phantoms.render(row, size).astype(float) for row in (0, 1))
    return np.abs(ill - healthy)


def test_the_committed_counts_are_nihs(nih: LabelTable) -> None:
    committed = [("|".join(c.findings) or "No Finding", c.images, c.images_ap) for c in nih_counts()]
    assert committed == list(count_combinations(nih))
    assert sum(c.images for c in nih_counts()) == 112_120


def test_findings_come_in_nihs_proportions_but_for_the_stated_boosts() -> None:
    cases = draw_cases(8000, seed=0)
    drawn = Counter(finding for case in cases for finding in case.findings)
    abnormal = [c for c in nih_counts() if c.findings]
    boost = {c.findings: max(BOOST.get(f, 1) for f in c.findings) for c in abnormal}
    total = sum(c.images * boost[c.findings] for c in abnormal)
    for finding in FINDINGS:
        weight = sum(c.images * boost[c.findings] for c in abnormal if finding in c.findings)
        assert drawn[finding] / len(cases) == pytest.approx(ABNORMAL_SHARE * weight / total, rel=0.12)
    assert np.mean([bool(case.findings) for case in cases]) == pytest.approx(0.46, abs=0.012)
    together = np.mean([{"Effusion", "Infiltration"} <= set(case.findings) for case in cases])
    weight = sum(c.images * boost[c.findings] for c in abnormal if {"Effusion", "Infiltration"} <= set(c.findings))
    assert together == pytest.approx(ABNORMAL_SHARE * weight / total, rel=0.15)


def test_views_and_several_images_of_a_patient_are_as_nihs(nih: LabelTable) -> None:
    cases = draw_cases(8000, seed=0)
    for findings, images in ((), 21_059 / 60_361), (("Infiltration",), 4_277 / 9_547):
        views = [case.view == "AP" for case in cases if case.findings == findings]
        assert np.mean(views) == pytest.approx(images, abs=0.03)
    of_patient: dict[int, list[Case]] = {}
    for case in cases:
        of_patient.setdefault(case.patient, []).append(case)
    assert np.mean([len(images) == 1 for images in of_patient.values()]) == pytest.approx(0.568, abs=0.02)
    pairs = [(a, b) for images in of_patient.values() for a, b in itertools.pairwise(images)]
    assert np.mean([a.findings == b.findings for a, b in pairs]) == pytest.approx(0.41, abs=0.02)
    assert len({(case.patient, case.sex, case.age) for case in cases}) == 8000


@pytest.mark.slow
def test_an_image_depends_on_seed_and_patient_not_on_the_set_it_is_in(tmp_path: Path) -> None:
    few, many = draw_phantoms(3, seed=4), draw_phantoms(6, seed=4)
    assert many.cases[: len(few)] == few.cases
    np.testing.assert_array_equal(few.render(1, 64), many.render(1, 64))
    code = (
        "import sys; from examples.chestxray14.phantoms import draw_phantoms; "
        "sys.stdout.buffer.write(draw_phantoms(2, seed=4).render(1, 64).tobytes())"
    )
    other_process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert other_process.stdout == few.render(1, 64).tobytes()
    assert draw_phantoms(3, seed=5).render(1, 64).tobytes() != few.render(1, 64).tobytes()


def test_images_of_one_patient_are_alike_and_not_the_same() -> None:
    visits = Phantoms(0, tuple(replace(HEALTHY, follow_up=i, patient=p) for p in range(1, 9) for i in range(2)))
    images = [visits.render(row, 48).astype(float).ravel() for row in range(len(visits))]
    likeness = np.corrcoef(images)
    same = [likeness[i, i + 1] for i in range(0, 16, 2)]
    other = [likeness[i, j] for i in range(0, 16, 2) for j in range(0, 16) if i // 2 != j // 2]
    assert max(same) < 1
    assert np.mean(same) > np.mean(other)


@pytest.mark.parametrize("finding", LOCALISED)
def test_a_box_holds_what_a_localised_finding_changes(finding: str) -> None:
    inside_shares, contrasts = [], []
    for patient in range(1, 9):
        phantoms = with_finding(finding, patient)
        (box,) = phantoms.boxes.scaled_to(128)
        change = difference(phantoms)
        x, y = (np.arange(128) + 0.5 for _ in range(2))
        inside = ((x >= box.x) & (x <= box.x + box.width))[None] & ((y >= box.y) & (y <= box.y + box.height))[:, None]
        inside_shares.append(change[inside].sum() / change.sum())
        contrasts.append(change[inside].mean() / change[~inside].mean())
    assert np.mean(inside_shares) > 0.8
    assert min(contrasts) > 4


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_changes_the_image_and_the_label(finding: str) -> None:
    phantoms = with_finding(finding, 3)
    assert difference(phantoms).max() > 10
    (labels,) = Phantoms(0, phantoms.cases[1:]).table.labels
    assert labels.tolist() == [float(name == finding) for name in FINDINGS]
    assert (len(phantoms.boxes) == 0) == (finding in DIFFUSE)


def test_what_is_dark_and_what_is_bright_is_so() -> None:
    air, fluid, emphysema = (
        with_finding(name, 5).render(1, 96).astype(int) - with_finding(name, 5).render(0, 96)
        for name in ("Pneumothorax", "Effusion", "Emphysema")
    )
    assert np.median(air[np.abs(air) > 5]) < 0
    assert np.median(fluid[np.abs(fluid) > 5]) > 0
    assert np.median(emphysema[np.abs(emphysema) > 5]) < 0


def test_the_same_image_is_drawn_at_any_size() -> None:
    phantoms = with_finding("Mass", 2)
    large = phantoms.render(1, 256).reshape(64, 4, 64, 4).mean((1, 3))
    small = phantoms.render(1, 64).astype(float)
    assert np.corrcoef(large.ravel(), small.ravel())[0, 1] > 0.97


@pytest.mark.parametrize(
    ("case", "checksum"),
    [
        (replace(HEALTHY, patient=1, sex="F", age=30), "a10d639329da77157f5b347f2e1dbaf5"),
        (Case(2, 1, FINDINGS[:7], 0, "AP", "M", 70), "1cb8f441f0c0024786bf047fef983d66"),
        (Case(3, 0, FINDINGS[7:], 0, "PA", "M", 8), "8b542847ed5f8499b672a5f6759d3d48"),
    ],
)  # fmt: skip
def test_painter_1_draws_these_pixels(case: Case, checksum: str) -> None:
    """If you change what is drawn: raise PAINTER in phantoms/write.py, and put the new checksums here."""
    pixels = Phantoms(0, (case,)).render(0, 64)
    assert (PAINTER, hashlib.sha256(pixels.tobytes()).hexdigest()[:32]) == (1, checksum)


def test_boxes_are_within_the_image() -> None:
    boxes = draw_phantoms(400, seed=1).boxes
    assert len(boxes) > 300
    for box in boxes:
        assert box.x >= 0 <= box.y
        assert max(box.x + box.width, box.y + box.height) <= 1024
        assert min(box.width, box.height) > 20


def test_files_of_phantoms_are_read_as_nihs_are(tmp_path: Path) -> None:
    phantoms = draw_phantoms(12, seed=2)
    write_phantoms(phantoms, tmp_path / "data", 32, workers=1, progress=False)
    table = read_data_entry(tmp_path / "data" / "Data_Entry_2017_synthetic.csv")
    np.testing.assert_array_equal(table.images, phantoms.table.images)
    np.testing.assert_array_equal(table.labels, phantoms.table.labels)
    for name, values in phantoms.table.columns.items():
        np.testing.assert_array_equal(table.columns[name], values)
    boxes = read_boxes(tmp_path / "data" / "BBox_List_2017.csv")
    assert [(box.image, box.finding) for box in boxes] == [(box.image, box.finding) for box in phantoms.boxes]
    images = find_images(tmp_path / "data", table.images)
    for row, name in enumerate(table.images.tolist()):
        np.testing.assert_array_equal(np.asarray(Image.open(images[name])), phantoms.render(row, 32))
    lists = {name: read_list(tmp_path / "data" / f"{name}_list.txt") for name in ("train_val", "test")}
    parts = {name: table.take(table.find(images)) for name, images in lists.items()}
    assert sum(map(len, lists.values())) == len(table)
    require_disjoint({"train_val": parts["train_val"]}, {"test": parts["test"]})


def test_a_folder_is_finished_and_never_mixed(tmp_path: Path) -> None:
    phantoms = draw_phantoms(4, seed=2)
    write_phantoms(phantoms, tmp_path / "data", 32, workers=1, progress=False)
    lost = tmp_path / "data" / "images" / phantoms.cases[0].image
    content = lost.read_bytes()
    lost.unlink()
    write_phantoms(phantoms, tmp_path / "data", 32, workers=1, progress=False)
    assert lost.read_bytes() == content
    for seed, size in ((3, 32), (2, 33)):
        with pytest.raises(AWBError, match="phantoms of seed 2, not 3" if seed == 3 else "phantoms of size 32, not 33"):
            write_phantoms(draw_phantoms(4, seed), tmp_path / "data", size, workers=1, progress=False)
    with pytest.raises(AWBError, match="has other files"):
        write_phantoms(phantoms, tmp_path, 32)


@pytest.mark.parametrize(
    ("painter", "refused"),
    [
        ({"painter": 1}, False),
        ({"painter": 2}, True),
        ({}, True),
        # the signature of 0f903c4, which drew the same images, and of a version that is not known to
        ({"drawn by": "d63e3c20d998e0a27d80aa41132e01507d30f84c2f856d532b696aae0898bff6"}, False),
        ({"drawn by": "0" * 64}, True),
    ],
)
def test_a_folder_of_another_painter_is_refused(tmp_path: Path, painter: dict[str, object], refused: bool) -> None:
    phantoms, folder = draw_phantoms(4, seed=2), tmp_path / "data"
    write_phantoms(phantoms, folder, 32, workers=1, progress=False)
    (folder / "SYNTHETIC.json").write_text(json.dumps({"synthetic": True, "seed": 2, "size": 32} | painter))
    if not refused:
        write_phantoms(phantoms, folder, 32, workers=1, progress=False)
        return
    with pytest.raises(AWBError, match="of another version, whose images may look different; give another folder"):
        write_phantoms(phantoms, folder, 32, workers=1, progress=False)


def test_a_damaged_signature_is_named(tmp_path: Path) -> None:
    (tmp_path / "SYNTHETIC.json").write_text("{")
    with pytest.raises(AWBError, match=r"SYNTHETIC\.json is damaged"):
        write_phantoms(draw_phantoms(1, seed=2), tmp_path, 32, workers=1, progress=False)
