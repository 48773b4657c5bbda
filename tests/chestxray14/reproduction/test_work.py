"""A cell is done once; one that was killed goes on; one that fails is named."""

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from examples.chestxray14.__main__ import main
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.work import Job, do_cell
from examples.chestxray14.training.trainer import TrainerOptions
from tests.chestxray14.small_runs import equal, train, weights

FORKSERVER = multiprocessing.get_context("forkserver")


def work(output: Path, source: StudySource, recipe_files: list[str]) -> int:
    """Do cells in this process; how many were not done."""
    options = TrainerOptions(checkpoint_every=2)
    cells = find_cells(recipe_files).items()
    return sum(do_cell(Job(Output(output), cell, recipe, source, options, 100, 1)) for cell, recipe in cells)


def test_a_cell_is_what_train_makes(done: Output, recipe_files: list[str], many: Path, tmp_path: Path) -> None:
    recipe = find_cells(recipe_files)["last"]
    train(recipe, many, tmp_path / "run")
    assert equal(weights(tmp_path / "run"), weights(done.run("last").path))
    assert (done.run("last").path / "MODEL_CARD.md").is_file()


def test_what_is_done_is_not_done_again(done: Output, source: StudySource, recipe_files: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.path.rglob("*") if path.is_file()}
    assert work(done.path, source, recipe_files) == 0
    assert before == {path: path.stat().st_mtime_ns for path in done.path.rglob("*") if path.is_file()}


@pytest.mark.rest
def test_a_cell_that_fails_is_written_down_and_the_others_go_on(
    tmp_path: Path, phantoms: Path, recipe_files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    text = Path(recipe_files[0]).read_text()
    bad.write_text(text.replace("name: nested", "name: lists"))
    cells, out = [str(bad), recipe_files[0]], str(tmp_path / "out")
    # of 40 patients: no finding has test patients enough, and there is a report all the same
    words = ["reproduce", out, "--data", str(phantoms / "data"), "--store", str(phantoms / "store")]
    assert main([*words, "--cells", *cells]) == 1
    output = Output(tmp_path / "out")
    cell = find_cells(cells)
    state, why = output.state("bad", cell["bad"])
    assert state == "failed"
    assert "--lists" in why
    assert "--lists" in capsys.readouterr().out
    assert output.state("plain", cell["plain"])[0] == "done"
    assert "bad" in (tmp_path / "out" / "report.md").read_text()
    # mended, it is done by the same command, for it never began
    bad.write_text(text.replace("seed: 0", "seed: 1"))
    assert main([*words, "--cells", *cells]) == 0
    assert not output.failure("bad").exists()


def test_a_cell_of_other_settings_is_neither_shown_nor_overwritten(
    done: Output, source: StudySource, recipe_files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights(done.run("plain").path)
    words = ["reproduce", str(done.path), "--data", str(source.folder), "--store", str(source.store)]
    assert main([*words, "--cells", recipe_files[0], "--set", "training.seed=1"]) == 2
    said = capsys.readouterr()
    assert "begun with other settings" in said.err
    assert "1 of another recipe" in said.out
    assert equal(weights(done.run("plain").path), before)


def test_a_prediction_that_was_lost_is_made_again(
    done: Output, tmp_path: Path, source: StudySource, recipe_files: list[str]
) -> None:
    shutil.copytree(done.path / "runs" / "plain", tmp_path / "runs" / "plain")
    lost = tmp_path / "runs" / "plain" / "evaluation" / "predictions-test.csv"
    before = lost.read_text()
    lost.unlink()
    assert work(tmp_path, source, recipe_files[:1]) == 1
    assert lost.read_text() == before


@pytest.mark.slow
def test_killed_and_run_again_it_ends_with_the_same_weights(
    done: Output, tmp_path: Path, source: StudySource, recipe_files: list[str]
) -> None:
    process = FORKSERVER.Process(target=work, args=(tmp_path, source, recipe_files))
    process.start()
    # in the second cell, after its first epoch
    log, deadline = tmp_path / "runs" / "last" / "epochs.csv", time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") > 1):
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    output, cells = Output(tmp_path), find_cells(recipe_files)
    assert output.state("last", cells["last"])[0] == "begun"
    assert work(tmp_path, source, recipe_files) == 2
    for cell in cells:
        assert equal(weights(output.run(cell).path), weights(done.run(cell).path))


@pytest.mark.rest
def test_two_processes_share_the_cells(
    done: Output, tmp_path: Path, source: StudySource, recipe_files: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", str(tmp_path), "--data", str(source.folder), "--store", str(source.store)]
    assert main([*words, "--cells", *recipe_files, "--jobs", "2", "--replicates", "100"]) == 0
    printed = capfd.readouterr().out
    for cell in ("plain", "last", "leaking"):
        assert printed.count(f"{cell}: begins") == printed.count(f"{cell}: done") == 1
        assert equal(weights(tmp_path / "runs" / cell), weights(done.run(cell).path))
    assert (tmp_path / "report.html").is_file()


def test_a_dry_run_trains_nothing(
    tmp_path: Path, source: StudySource, recipe_files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["reproduce", str(out), "--data", str(source.folder), "--store", str(source.store), "--dry-run"]
    assert main([*words, "--cells", *recipe_files]) == 0
    assert "leaking" in capsys.readouterr().out
    assert not out.exists()


def test_a_launcher_of_several_processes_is_refused(
    tmp_path: Path, source: StudySource, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["reproduce", str(tmp_path), "--data", str(source.folder), "--store", str(source.store)]) == 2
    assert "give --jobs the number of GPUs" in capsys.readouterr().err
