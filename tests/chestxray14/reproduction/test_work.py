"""Cells are done once, whoever does them; what is killed goes on; what fails is said."""

import multiprocessing
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from examples.chestxray14.__main__ import main
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.claims import claim
from examples.chestxray14.reproduction.work import Job, Output, work
from examples.chestxray14.training.trainer import TrainerOptions
from tests.chestxray14.small_runs import equal, train, weights

FORKSERVER = multiprocessing.get_context("forkserver")


def job(output: Path, source: StudySource, cells: list[str]) -> Job:
    return Job(Output(output), find_cells(cells), source, TrainerOptions(checkpoint_every=2), 100, 1)


def test_a_cell_is_what_train_makes(done: Output, recipe_files: list[str], many: Path, tmp_path: Path) -> None:
    recipe = find_cells(recipe_files)["last"]
    train(recipe, many, tmp_path / "run")
    assert equal(weights(tmp_path / "run"), weights(done.run("last").path))
    assert (done.run("last").path / "MODEL_CARD.md").is_file()


def test_what_is_done_is_not_done_again(done: Output, source: StudySource, recipe_files: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.path.rglob("*") if path.is_file()}
    assert work(job(done.path, source, recipe_files)) == 0
    assert before == {path: path.stat().st_mtime_ns for path in done.path.rglob("*") if path.is_file()}


def test_a_cell_that_another_holds_is_left_to_it(tmp_path: Path, source: StudySource, recipe_files: list[str]) -> None:
    output, recipe = Output(tmp_path), find_cells(recipe_files)["last"]
    held = claim(output.claims, "last")
    assert held is not None
    with held:
        assert work(job(tmp_path, source, [recipe_files[1]])) == 0
        assert output.state("last", recipe)[0] == "in progress"
    assert output.state("last", recipe) == ("not begun", "")
    assert work(job(tmp_path, source, [recipe_files[1]])) == 1
    assert output.state("last", recipe) == ("done", "")


def test_a_cell_whose_holder_died_while_another_was_done_is_taken_over(
    tmp_path: Path, source: StudySource, recipe_files: list[str]
) -> None:
    """`plain` is another's when this process passes it, and nobody's when this one has done `last`."""
    one = job(tmp_path, source, recipe_files[:2])
    held = claim(one.output.claims, "plain")
    assert held is not None

    def release_once_last_has_begun() -> None:
        while not one.output.run("last").info.is_file():
            time.sleep(0.01)
        held.__exit__(None, None, None)

    thread = threading.Thread(target=release_once_last_has_begun, daemon=True)
    thread.start()
    assert work(one) == 2
    assert [one.output.state(cell, recipe)[0] for cell, recipe in one.cells.items()] == ["done", "done"]


def test_a_cell_that_has_failed_elsewhere_meanwhile_is_not_tried_again(
    tmp_path: Path, source: StudySource, recipe_files: list[str]
) -> None:
    """Two processes of one command: what fails, fails once, and again in the next command."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(Path(recipe_files[0]).read_text().replace("name: nested", "name: lists"))
    one = job(tmp_path / "out", source, [str(bad), recipe_files[1]])
    failure, written = one.output.failure("bad"), set[int]()

    def watch() -> None:
        while not one.output.run("last").sums.is_file():
            if failure.is_file():
                written.add(failure.stat().st_mtime_ns)
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert work(one) == 1
    thread.join()
    written.add(failure.stat().st_mtime_ns)
    assert len(written) == 1
    assert work(one) == 0
    assert failure.stat().st_mtime_ns not in written


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
    assert work(job(tmp_path, source, recipe_files[:1])) == 1
    assert lost.read_text() == before


@pytest.mark.slow
def test_killed_and_run_again_it_ends_with_the_same_weights(
    done: Output, tmp_path: Path, source: StudySource, recipe_files: list[str]
) -> None:
    one = job(tmp_path, source, recipe_files)
    process = FORKSERVER.Process(target=work, args=(one,))
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
    assert one.output.state("last", one.cells["last"])[0] == "begun"
    assert work(one) == 2
    for cell in one.cells:
        assert equal(weights(one.output.run(cell).path), weights(done.run(cell).path))


@pytest.mark.slow
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
    assert "one process for each GPU" in capsys.readouterr().err
