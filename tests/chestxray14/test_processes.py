"""Two processes train as one does, at equal images a step."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import awb
from awb.study import LabelTable
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.runs.folder import RunFolder
from tests.chestxray14.small_runs import equal, weights

ROOT = Path(__file__).parents[2]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
# a network with group norm and without dropout, two backwards a step, a frozen phase, an average of the weights; layers
# that learn at different rates with clipped gradients, and a rate that follows the validation loss
SETTINGS = [
    "data.image_size=32", "data.batch_size=8", "stages.*.epochs=2", "model.dropout=0.0", "training.accumulation=2",
    "training.ema=0.9", "stages.0.optimizer.layer_decay=0.5", "stages.0.optimizer.clip_norm=0.5",
    "stages.1.optimizer.lr_schedule=plateau", "stages.1.optimizer.plateau_patience=0",
]  # fmt: skip


def write_table(path: Path, table: LabelTable) -> None:
    """A plain table in which a third of the labels are unknown, more of them in some images than in others."""
    rng = np.random.RandomState(0)
    unknown = rng.rand(*table.labels.shape) < rng.rand(len(table), 1) * 2 / 3
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient", *table.classes))
        for image, patient, labels, hidden in zip(table.images, table.groups, table.labels, unknown, strict=True):  # type: ignore[arg-type]
            writer.writerow((image, patient, *("" if h else int(v) for v, h in zip(labels, hidden, strict=True))))


def command(launcher: list[str], run: Path, phantoms: Path, table: Path) -> list[str]:
    words = [
        sys.executable, *launcher, "-m", "examples.chestxray14", "train", "tiny", str(run),
        "--data", str(phantoms / "data"), "--store", str(phantoms / "store"), "--table", str(table),
        "--checkpoint-every", "2",
    ]  # fmt: skip
    return words + [word for setting in SETTINGS for word in ("--set", setting)]


def train(launcher: list[str], run: Path, phantoms: Path, table: Path) -> np.ndarray:
    """The training losses of all steps."""
    words = command(launcher, run, phantoms, table)
    result = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "SYNTHETIC" in result.stdout.splitlines()[0]
    with (run / "steps.csv").open(newline="") as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])


@pytest.mark.rest
@pytest.mark.timeout(900)
def test_two_processes_give_the_losses_of_one_and_go_on_when_they_are_killed(phantoms: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    write_table(table, read_data_entry(phantoms / "data" / "Data_Entry_2017_synthetic.csv"))
    one = train([], tmp_path / "one", phantoms, table)
    two = train(TWO, tmp_path / "two", phantoms, table)
    assert len(one) == len(two) > 15
    assert np.abs(one - two).max() < 1e-6
    a, b = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-4

    run = tmp_path / "killed"
    words = command(TWO, run, phantoms, table)
    with subprocess.Popen(
        words, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while not (run / "checkpoint.pt").exists():
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)  # the launcher's; its processes have their own and end with it
    assert not (run / "weights.safetensors").exists()
    while is_locked(run):
        time.sleep(0.05)
    assert np.array_equal(train(TWO, run, phantoms, table), two)
    assert equal(weights(run), b)


def is_locked(run: Path) -> bool:
    """Whether a process still trains there."""
    try:
        with RunFolder(run).alone():
            return False
    except awb.AWBError:
        return True
