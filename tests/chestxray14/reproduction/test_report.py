"""The report's figures are those of the runs, and it says what is not to be compared."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import awb
from awb.study import Split, read_labels, read_predictions
from awb.table import Table
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.data.supported_findings import FEWEST
from examples.chestxray14.evaluation.compare import compare_runs
from examples.chestxray14.evaluation.evaluate import evaluation_tables
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun, read_evaluated
from examples.chestxray14.files.checksums import read_sums, write_sums
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.contrasts import contrasts
from examples.chestxray14.reproduction.costs import cost_table
from examples.chestxray14.reproduction.factors import split_names
from examples.chestxray14.reproduction.maps import against_baselines
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.published import TABLE_4
from examples.chestxray14.reproduction.report import write_report
from examples.chestxray14.reproduction.tables import cells_table, time_table
from examples.chestxray14.training.trained_network import load_run


@pytest.fixture(scope="module")
def runs(done: Output) -> dict[str, EvaluatedRun]:
    return {name: read_evaluated(done.run(name).path) for name in ("plain", "last", "leaking")}


def macro(run: EvaluatedRun) -> float:
    """By scikit-learn, from the files, over the findings that five patients have."""
    folder = run.folder.evaluation
    labels = read_labels(folder / "labels-test.csv", group="patient", classes=run.test.classes)
    probs = read_predictions(folder / "predictions-test.csv", labels)
    assert labels.groups is not None
    areas = []
    for y, p in zip(labels.labels.T, probs.T, strict=True):
        if min(len(set(labels.groups[y == value].tolist())) for value in (0, 1)) >= FEWEST:
            areas.append(roc_auc_score(y, p))
    assert areas
    return float(np.mean(areas))


def test_the_table_of_cells_has_scikit_learn_s_figures(runs: dict[str, EvaluatedRun]) -> None:
    for row in cells_table(runs, 100):
        run = runs[row["cell"]]
        assert row["macro AUROC"] == pytest.approx(macro(run))
        low, high = row["95 %"]
        assert low <= row["macro AUROC"] <= high
        assert (row["split"], row["test images"]) == (run.split.name, len(run.split.sets[set_of_test(run)]))


def test_the_report_s_figure_stands_beside_its_own_task_only(runs: dict[str, EvaluatedRun]) -> None:
    recipe = find_cells(["report-ours2"])["report-ours2"]
    on_phantoms = EvaluatedRun(**{**vars_of(runs["leaking"]), "recipe": recipe})
    on_xrays = EvaluatedRun(**{**vars_of(on_phantoms), "info": on_phantoms.info | {"origin": "NIH"}})
    labels = on_xrays.test.labels.copy()
    labels[:] = np.random.default_rng(0).random(labels.shape) < 0.5  # so that each finding has patients enough
    all_14 = dataclasses.replace(on_xrays.test, labels=labels)
    whole = EvaluatedRun(**{**vars_of(on_xrays), "test": all_14})
    own = EvaluatedRun(**{**vars_of(whole), "info": whole.info | {"origin": "own"}})
    small = EvaluatedRun(**{**vars_of(whole), "recipe": runs["leaking"].recipe})
    cells = {"phantoms": on_phantoms, "a mean of fewer": on_xrays, "X-rays": whole, "own": own, "small": small}
    shown = {row["cell"]: row["the 2025 report's AUROC"] for row in cells_table(cells, 100)}
    assert shown == {"phantoms": None, "a mean of fewer": None, "X-rays": 0.8818, "own": None, "small": None}


def test_it_counts_the_test_images_that_were_trained_on(runs: dict[str, EvaluatedRun]) -> None:
    seen = {row["cell"]: row["images seen"] for row in cells_table(runs, 100)}
    sets = runs["leaking"].split.sets
    used = {image for name, images in sets.items() if not name.endswith("test") for image in images}
    share = np.mean([image in used for image in sets["stage2/test"]])
    assert share > 0
    assert seen == {"plain": "0.0 %", "last": "0.0 %", "leaking": f"{100 * share:.1f} %"}


def test_a_contrast_is_the_difference_of_its_cells(runs: dict[str, EvaluatedRun]) -> None:
    (row,) = contrasts(runs, 100)["Do blocks help? Each placement against none"]
    assert (row["A"], row["B"]) == ("plain", "last")  # and not the leaking one
    assert row["B − A"] == pytest.approx(macro(runs["last"]) - macro(runs["plain"]))
    *_, whole = compare_runs(runs["plain"], runs["last"], names=("plain", "last"), n_replicates=100)
    names = {"AUROC of A": "plain", "AUROC of B": "last", "B − A": "difference", "p": "p", "p (Holm)": "p"}
    assert {ours: row[ours] for ours in names} == {ours: whole[theirs] for ours, theirs in names.items()}
    assert row["95 % interval"] == whole["difference 95 %"]


def test_a_run_that_trained_on_its_test_images_is_not_compared_with_one_that_did_not(
    runs: dict[str, EvaluatedRun], done: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(done.run("plain").path), str(done.run("leaking").path)]) == 2
    assert "different test sets" in capsys.readouterr().err
    same = EvaluatedRun(**{**vars_of(runs["plain"]), "split": runs["leaking"].split})
    used = set(same.split.sets["stage2/train"]) & set(same.test.images.tolist())
    assert used  # the other split's training images are test images of this one
    with pytest.raises(awb.AWBError, match=r"different parts of their test images in training \(last 0\.0 %, leak"):
        compare_runs(runs["last"], same, names=("last", "leak"))


def test_compare_prints_and_writes_the_paired_difference(
    done: Output, runs: dict[str, EvaluatedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "compared.md"
    folders = [str(done.run(name).path) for name in ("plain", "last")]
    assert main(["compare", *folders, "--replicates", "100", "--out", str(out)]) == 0
    difference = macro(runs["last"]) - macro(runs["plain"])
    assert f"{difference:.4g}" in capsys.readouterr().out
    assert f"{difference:.4g}" in out.read_text()
    assert out.read_text().startswith("SYNTHETIC phantoms")


def test_a_run_compared_with_itself_differs_by_nothing(runs: dict[str, EvaluatedRun]) -> None:
    for row in compare_runs(runs["last"], runs["last"], names=("one", "two"), n_replicates=100):
        assert row["difference"] == 0


def test_its_table_4_is_the_report_s(runs: dict[str, EvaluatedRun]) -> None:
    rows = list(cost_table(run.recipe for run in runs.values()))
    for row, cost in zip(rows, TABLE_4, strict=False):
        assert row["params"] == row["the 2025 report's"] == cost.params
        assert row["GMACs"] == row["the 2025 report's "] == f"{cost.gmacs:.2f}"
    assert [(row["network"], row["blocks"]) for row in rows[len(TABLE_4) :]] == [
        ("tiny", "none"), ("tiny", "lka, last:2"),
    ]  # fmt: skip


def test_times_are_those_of_the_log(runs: dict[str, EvaluatedRun]) -> None:
    rows = [row for row in time_table(runs) if row["cell"] == "last"]
    log = [line.split(",") for line in runs["last"].folder.epochs.read_text().splitlines()[1:]]
    assert [(row["stage"], row["epochs"]) for row in rows] == [("abnormal", 1), ("all", 2)]
    assert sum(row["seconds"] for row in rows) == pytest.approx(sum(float(line[-1]) for line in log))


def test_the_report_is_whole(done: Output, source: StudySource, recipe_files: list[str]) -> None:
    html = write_report(done, find_cells(recipe_files), source, 100).page.read_text()
    assert "SYNTHETIC" in html
    assert "No figure on this page has a medical meaning" in html
    assert "leaking: trained on part of its own test set" in html
    pictures = re.findall(r'<img[^>]* src="([^"]+)"', html)
    assert len(pictures) == 3 + 1 + 2 * 3  # of the data, maps, and two a cell
    assert all((done.path / path).stat().st_size > 1000 for path in pictures)
    for path in re.findall(r'<a href="([^"]+)"', html):
        assert (done.path / path).is_file()
    assert html.count("<details>") == html.count("</details>") == 3
    assert "| ---" not in html  # every table has become one


def test_a_report_from_other_data_is_refused(
    done: Output, phantoms: Path, source: StudySource, recipe_files: list[str], tmp_path: Path
) -> None:
    page = done.path / "report.html"
    before = page.read_text() if page.is_file() else None
    with pytest.raises(awb.AWBError, match="is of another run"):
        write_report(done, find_cells(recipe_files), StudySource(phantoms / "data", phantoms / "store"), 100)
    assert (page.read_text() if page.is_file() else None) == before
    # the same labels, other pixels
    images = find_images(source.folder, source.study(find_cells(recipe_files)["plain"]).table.images)
    build_store(images, tmp_path / "store", 48, workers=1, progress=False)
    with pytest.raises(awb.AWBError, match=r"is of another run \(store was"):
        write_report(done, find_cells(recipe_files), StudySource(source.folder, tmp_path / "store"), 100)


def test_a_cell_that_cannot_be_read_or_compared_is_named_and_the_others_are_reported(
    done: Output, source: StudySource, recipe_files: list[str], tmp_path: Path
) -> None:
    shutil.copytree(done.path / "runs", tmp_path / "runs")
    output, cells = Output(tmp_path), find_cells(recipe_files)
    (output.run("last").weights).write_bytes(b"")
    (output.run("leaking").info).write_text("{")
    report = write_report(output, cells, source, 100)
    assert report.states == {"plain": "done", "last": "unreadable", "leaking": "unreadable"}
    text = (tmp_path / "report.md").read_text()
    assert "weights.safetensors changed since the evaluation" in text
    assert "run.json is damaged" in text
    assert [row["cell"] for row in report.cells] == ["plain"]
    (report,) = [write_report(output, {"plain": cells["plain"]}, source, 100)]
    assert "2 other cells of this folder were not asked for: last, leaking" in (tmp_path / "report.md").read_text()


def test_a_pair_that_cannot_be_compared_is_named(runs: dict[str, EvaluatedRun]) -> None:
    run = runs["last"]
    labels = run.test.labels.copy()
    labels[0, 0] = 1 - labels[0, 0]
    other = EvaluatedRun(**{**vars_of(run), "test": dataclasses.replace(run.test, labels=labels)})
    table = contrasts({"plain": runs["plain"], "last": other}, 100)["Do blocks help? Each placement against none"]
    assert len(table) == 0
    assert "1 not compared: plain and last have different labels" in "".join(table.notes)


def test_two_splits_of_one_name_are_told_apart(runs: dict[str, EvaluatedRun]) -> None:
    sets = {name: tuple(reversed(images))[1:] for name, images in runs["last"].split.sets.items()}
    other = EvaluatedRun(**{**vars_of(runs["last"]), "split": Split("nested", sets, runs["last"].split.groups)})
    cells = {"plain": runs["plain"], "last": runs["last"], "other": other, "leaking": runs["leaking"]}
    names = split_names(cells)
    assert len(set(names.values())) == 3
    assert names[runs["leaking"].split.checksum] == "report"
    for row in cells_table(cells, 100):
        assert row["split"] == names[cells[row["cell"]].split.checksum]


def test_a_table_says_which_maps_lose_to_which_baseline() -> None:
    pointing = {"plain": 0.2, "last": 0.35, "centre prior": 0.3, "random map": 0.1, "other patients' boxes": 0.4}
    said = list(against_baselines(Table(("maps", "pointing"), tuple(pointing.items()))))
    assert said[:3] == [
        "pointing above that of centre prior: 1 of 2 cells",
        "pointing above that of random map: 2 of 2 cells",
        "pointing above that of other patients' boxes: 0 of 2 cells",
    ]


def test_there_is_no_report_of_nothing(tmp_path: Path, source: StudySource, recipe_files: list[str]) -> None:
    with pytest.raises(awb.AWBError, match="none of 3 cells is done"):
        write_report(Output(tmp_path), find_cells(recipe_files), source, 100)


def test_one_cell_has_one_figure_wherever_it_stands(runs: dict[str, EvaluatedRun]) -> None:
    for name in ("plain", "last"):
        figure = f"{macro(runs[name]):.4g}"
        assert figure in (runs[name].folder.evaluation / "evaluation.md").read_text()
        assert figure in runs[name].folder.card.read_text()


def test_subgroups_have_scikit_learn_s_figures_of_the_findings_that_their_patients_have(
    runs: dict[str, EvaluatedRun],
) -> None:
    run = runs["plain"]
    tables = dict(evaluation_tables(run.test, run.probs, run.test, run.probs, 50))
    shown = 0
    for column in ("view", "sex"):
        for row in tables[f"Macro, by {column}"]:
            inside = run.test.columns[column] == row["subgroup"]
            patients, areas = run.patients[inside], []
            for y, p in zip(run.test.labels[inside].T, run.probs[inside].T, strict=True):
                if min(len(set(patients[y == value].tolist())) for value in (0, 1)) >= FEWEST:
                    areas.append(roc_auc_score(y, p))
            assert row["AUROC"] == pytest.approx(np.mean(areas))
            assert (row["images"], row["patients"]) == (inside.sum(), len(set(patients.tolist())))
            assert row["findings"] == len(areas)
            shown += 1
    assert shown > 1


def test_an_image_of_no_known_subgroup_is_left_out_and_counted(runs: dict[str, EvaluatedRun]) -> None:
    run = runs["plain"]
    ages = run.test.columns["age"].copy()
    ages[:7] = ""
    test = dataclasses.replace(run.test, columns={"age": ages})
    table = dict(evaluation_tables(test, run.probs, test, run.probs, 50))["Macro, by age"]
    assert f"not known: 7 of {len(ages)} images" in "; ".join(table.notes)
    assert all(row["subgroup"] for row in table)


@pytest.mark.parametrize("name", ["weights.safetensors", "evaluation/predictions-test.csv", "recipe.yaml"])
def test_figures_of_other_files_than_lie_there_are_refused(done: Output, tmp_path: Path, name: str) -> None:
    shutil.copytree(done.run("plain").path, tmp_path / "run")
    read_evaluated(tmp_path / "run")
    other = done.run("last").path / name
    shutil.copy(other, tmp_path / "run" / name)
    with pytest.raises(awb.AWBError, match=f"{name} changed since the evaluation"):
        read_evaluated(tmp_path / "run")


def test_evaluated_again_it_is_read_again(done: Output, source: StudySource, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(done.run("plain").path, run)
    before = read_evaluated(run).probs
    (run / "evaluation" / "predictions-test.csv").write_text("")
    words = ["evaluate", str(run), "--data", str(source.folder), "--store", str(source.store), "--replicates", "100"]
    assert main(words) == 0
    np.testing.assert_array_equal(read_evaluated(run).probs, before)


def test_patients_that_are_shared_are_a_leak_without_a_shared_image(runs: dict[str, EvaluatedRun]) -> None:
    run = runs["last"]
    patient = run.patients[0]
    stolen = run.split.sets["stage2/train"][0]  # one training image becomes a test patient's
    groups = dict(run.split.groups) | {stolen: str(patient)}
    split = Split(run.split.name, run.split.sets, groups)
    leaking = EvaluatedRun(**{**vars_of(run), "split": split})
    share = float((run.patients == patient).mean())
    assert (leaking.leak.images.mean(), leaking.leak.patients.mean()) == (0.0, pytest.approx(share))
    with pytest.raises(awb.AWBError, match="different parts of their test images by their patients"):
        compare_runs(run, leaking, names=("last", "leak"))
    (row,) = cells_table({"leak": leaking}, 100)
    assert (row["images seen"], row["of seen patients"]) == ("0.0 %", f"{100 * share:.1f} %")


def test_runs_that_have_seen_other_parts_of_the_test_set_are_not_compared(runs: dict[str, EvaluatedRun]) -> None:
    run = runs["leaking"]
    sets = dict(run.split.sets)
    a_test_image = str(run.test.images[~run.leak.images][0])
    sets["stage2/train"] = (*sets["stage2/train"], a_test_image)
    other = EvaluatedRun(**{**vars_of(run), "split": Split(run.split.name, sets, run.split.groups)})
    with pytest.raises(awb.AWBError, match="different parts of their test images"):
        compare_runs(run, other, names=("one", "more"))
    assert all(row["difference"] == 0 for row in compare_runs(run, run, names=("one", "same"), n_replicates=40))


def test_runs_whose_images_have_other_patients_are_not_compared(runs: dict[str, EvaluatedRun]) -> None:
    run = runs["last"]
    each_its_own = dataclasses.replace(run.test, groups=run.test.images)
    other = EvaluatedRun(**{**vars_of(run), "test": each_its_own})
    with pytest.raises(awb.AWBError, match="have different patients for the same test images"):
        compare_runs(run, other, names=("one", "two"))


def test_a_leak_is_said_wherever_figures_are(runs: dict[str, EvaluatedRun]) -> None:
    run = runs["leaking"]
    share = np.mean([image in used_images(run) for image in run.test.images.tolist()])
    for text in ((run.folder.evaluation / "evaluation.md").read_text(), run.folder.card.read_text()):
        assert f"LEAK: {100 * share:.1f} % of the test images were trained or chosen on" in text
    assert "LEAK" not in (runs["last"].folder.evaluation / "evaluation.md").read_text()


def test_a_split_that_is_not_the_run_s_is_refused(done: Output, source: StudySource, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(done.run("leaking").path, run)
    shutil.copy(done.run("last").split, run / "split.csv.gz")
    words = ["--data", str(source.folder), "--store", str(source.store), "--replicates", "40"]
    assert main(["evaluate", str(run), *words]) == 2
    (run / "SHA256SUMS").unlink()
    assert main(["evaluate", str(run), *words]) == 2
    assert not (run / "SHA256SUMS").exists()


def test_weights_of_other_labels_are_refused(done: Output, source: StudySource, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(done.run("last").path, run)
    info = json.loads((run / "run.json").read_text())
    info["identity"]["labels"] = "0" * 64
    (run / "run.json").write_text(json.dumps(info))
    with pytest.raises(awb.AWBError, match=r"run\.json changed since the training"):
        load_run(run)
    (run / "SHA256SUMS").unlink()
    with pytest.raises(awb.AWBError, match=r"run\.json is damaged"):
        load_run(run)
    del info["sha256"]  # as an earlier version wrote it, and trained
    (run / "run.json").write_text(json.dumps(info))
    with pytest.raises(awb.AWBError, match=r"weights\.safetensors is of another run \(labels was"):
        load_run(run)


def test_pixels_that_are_not_those_that_were_decoded_are_refused(
    done: Output, source: StudySource, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(source.store, tmp_path / "store")
    pixels = np.memmap(tmp_path / "store" / "pixels.u8", np.uint8, "r+")
    pixels[:] = pixels[::-1].copy()
    pixels.flush()
    words = ["--data", str(source.folder), "--store", str(tmp_path / "store")]
    for command in (["evaluate", str(done.run("last").path)], ["reproduce", str(done.path), "--cells", "tiny"]):
        assert main([*command, *words]) == 2
        assert "is damaged: the pixels of" in capsys.readouterr().err
    read_evaluated(done.run("last").path)


def test_corrected_sexes_are_not_reported_with_the_old_figures(
    done: Output, source: StudySource, recipe_files: list[str], tmp_path: Path
) -> None:
    (labels,) = source.folder.glob("Data_Entry*")
    (tmp_path / labels.name).write_text(labels.read_text().replace(",M,", ",X,").replace(",F,", ",M,"))
    corrected = StudySource(tmp_path, source.store)
    with pytest.raises(awb.AWBError, match="sex changed in the labels since the evaluation"):
        write_report(done, find_cells(recipe_files), corrected, 100)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b"{}"), ("run.json", b"null"), ("run.json", b"{"), ("SHA256SUMS", bytes(range(128, 256))),
        ("split.csv.gz", None), ("epochs.csv", b""),
    ],
)  # fmt: skip
def test_a_damaged_file_ends_no_report(
    done: Output, source: StudySource, recipe_files: list[str], tmp_path: Path, name: str, content: bytes | None
) -> None:
    shutil.copytree(done.path / "runs", tmp_path / "runs")
    output = Output(tmp_path)
    damaged = output.run("last").path / name
    damaged.write_bytes(damaged.read_bytes()[:300] if content is None else content)
    if name in ("split.csv.gz", "epochs.csv"):  # as if it had been signed so
        run = output.run("last")
        write_sums(run.sums, read_sums(run.sums))
    states = write_report(output, find_cells(recipe_files), source, 100).states
    assert states == {"plain": "done", "last": "unreadable", "leaking": "done"}
    assert name in (tmp_path / "report.md").read_text()


def test_an_evaluation_is_wanted_before_a_comparison(done: Output, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("recipe.yaml", "run.json", "split.csv.gz"):
        (run / name).write_bytes((done.run("last").path / name).read_bytes())
    with pytest.raises(awb.AWBError, match="was not evaluated yet"):
        read_evaluated(run)


def used_images(run: EvaluatedRun) -> set[str]:
    return {image for name, images in run.split.sets.items() if not name.endswith("test") for image in images}


def set_of_test(run: EvaluatedRun) -> str:
    return "test" if "test" in run.split.sets else "stage2/test"


def vars_of(run: EvaluatedRun) -> dict[str, object]:
    return {name: getattr(run, name) for name in type(run).__dataclass_fields__}
