"""The report shows the results of trained cells, and names what leaks, what is missing and what was not asked for."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import awb
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun, read_evaluated
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.contrasts import contrasts
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.progress import Progress
from examples.chestxray14.reproduction.report import write_report
from examples.chestxray14.reproduction.results import measure_all
from examples.chestxray14.reproduction.tables import results_table
from tests.chestxray14.evaluation.runs import macro_auroc

pytestmark = pytest.mark.slow  # three trainings


@pytest.fixture(scope="module")
def runs(done: Output) -> dict[str, EvaluatedRun]:
    return {name: read_evaluated(done.run(name).path) for name in ("plain", "last", "leaking")}


def test_it_is_whole_and_one_file(done: Output, source: StudySource, recipe_files: list[str]) -> None:
    html = write_report(done, find_cells(recipe_files), source, 100).page.read_text()
    assert "SYNTHETIC" in html
    assert "No figure on this page has a medical meaning" in html
    assert "leaking: trained on part of its own test set" in html
    sources = re.findall(r'<img[^>]* src="([^"]+)"', html)
    assert len(sources) == 3 + 1 + 3 * 3  # of the data, maps, and three per cell
    for kind, data in (re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", one).groups() for one in sources):  # type: ignore[union-attr]
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert picture.format == kind.upper()
            assert min(picture.size) > 200
    assert not re.findall(r'(?:href|src|srcset|action)="(?!#|data:image/)', html)
    assert "url(" not in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)
    main = html[html.index("<main>") :]
    assert main.count("<details>") == main.count("</details>") == 3
    assert "| ---" not in html  # every table has become one
    text = (done.path / "report.md").read_text()
    assert all((done.path / path).is_file() for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text))
    for blocks in ("none", "lka, last:2, identity"):
        assert re.search(rf"\| tiny \| {blocks} \| 32 \| [\d,]+ \| [\d.]+ \|", text)
    assert "2025 report's" not in text.replace("as the 2025 report's first stage did", "")


def test_it_answers_the_question_and_names_the_cell_in_no_pair(
    done: Output, source: StudySource, recipe_files: list[str], runs: dict[str, EvaluatedRun]
) -> None:
    write_report(done, find_cells(recipe_files), source, 100)
    text = (done.path / "report.md").read_text()
    difference = f"{macro_auroc(runs['last']) - macro_auroc(runs['plain']):+.3f}".replace("-", "−")
    patients = runs["last"].n_patients
    assert re.search(
        rf"- Blocks \(lka after the last two stages\) changed the macro AUROC by {re.escape(difference)} "
        rf"\(95 % \S+ to \S+, {patients} patients\): (no difference shown|higher|lower)\.",
        text,
    )
    assert "| leaking | last | data.split.name report, not nested |" in text


def test_it_says_what_it_does(done: Output, source: StudySource, recipe_files: list[str]) -> None:
    said: list[str] = []
    write_report(done, find_cells(recipe_files), source, 50, Progress(said.append, bars=False))
    assert said[:2] == ["report: reading cells, 3 in all", "report: results and curves of the cells, 3 in all"]
    assert said[-1] == "report: the page"


def test_one_cell_has_one_result_wherever_it_stands(runs: dict[str, EvaluatedRun]) -> None:
    results = measure_all(runs, 100)
    rows = {row["cell"]: row for row in results_table(runs, results)}
    for name, run in runs.items():
        result = macro_auroc(run)
        assert rows[name]["macro AUROC"] == pytest.approx(result)
        assert f"{result:.4g}" in (run.folder.evaluation / "evaluation.md").read_text()
        assert f"{result:.4g}" in run.folder.card.read_text()
    (row,) = contrasts(runs, results)["Do blocks help? Each placement against none"].table
    assert (row["A"], row["B"]) == ("plain", "last")  # and not the leaking one
    assert row["B − A"] == pytest.approx(macro_auroc(runs["last"]) - macro_auroc(runs["plain"]))


def test_a_leak_is_said_wherever_results_are(runs: dict[str, EvaluatedRun]) -> None:
    run = runs["leaking"]
    used = {image for name, images in run.split.sets.items() if not name.endswith("test") for image in images}
    share = np.mean([image in used for image in run.split.sets["stage2/test"]])
    assert share > 0
    for text in ((run.folder.evaluation / "evaluation.md").read_text(), run.folder.card.read_text()):
        assert f"LEAK: {100 * share:.1f} % of the test images were trained or chosen on" in text
    assert "LEAK" not in (runs["last"].folder.evaluation / "evaluation.md").read_text()
    seen = {row["cell"]: row["images seen"] for row in results_table(runs, measure_all(runs, 100))}
    assert seen == {"plain": "0.0 %", "last": "0.0 %", "leaking": f"{100 * share:.1f} %"}


def test_a_leaking_run_is_not_compared_with_an_honest_one(done: Output, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(done.run("plain").path), str(done.run("leaking").path)]) == 2
    assert "different test sets" in capsys.readouterr().err


def test_cells_of_the_same_labels_and_other_pixels_are_refused_and_the_report_stays(
    done: Output, source: StudySource, recipe_files: list[str], tmp_path: Path
) -> None:
    page = done.path / "report.html"
    before = page.read_text() if page.is_file() else None
    cells = find_cells(recipe_files)
    images = find_images(source.folder, source.study(cells["plain"]).table.images)
    build_store(images, tmp_path / "store", 48, workers=1, progress=False)
    with pytest.raises(awb.AWBError, match=r"is of another run \(store was"):
        write_report(done, cells, StudySource(source.folder, tmp_path / "store"), 100)
    assert (page.read_text() if page.is_file() else None) == before


def test_a_cell_that_cannot_be_read_is_named_and_the_others_are_reported(
    done: Output, source: StudySource, recipe_files: list[str], tmp_path: Path
) -> None:
    shutil.copytree(done.path / "runs", tmp_path / "runs")
    output, cells = Output(tmp_path), find_cells(recipe_files)
    (output.run("leaking").weights).write_bytes(b"")
    report = write_report(output, {name: cells[name] for name in ("plain", "leaking")}, source, 100)
    assert report.states == {"plain": "done", "leaking": "unreadable"}
    text = (tmp_path / "report.md").read_text()
    assert "weights.safetensors changed since the evaluation" in text
    assert [row["cell"] for row in report.cells] == ["plain"]
    assert "1 other cells of this folder were not asked for: last" in text
