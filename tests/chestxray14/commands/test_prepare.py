"""The command, from files to a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.chestxray14.__main__ import main
from examples.chestxray14.data.decode import decode
from examples.chestxray14.data.store import ImageStore


def test_phantoms_are_drawn_and_stored_and_the_command_may_be_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, store = str(tmp_path / "data"), str(tmp_path / "store")
    command = ["prepare", data, store, "--synthetic", "3", "--size", "32", "--workers", "1", "--verify"]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert "images of 32×32" in first
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert main(["prepare", data, store, "--size", "32", "--workers", "1"]) == 0  # NIH's label file is found
    assert main(["prepare", data, store, "--size", "33", "--workers", "1"]) == 2
    assert "an image store of 32 pixels, not 33" in capsys.readouterr().err


def test_a_plain_table_of_ones_own_is_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").mkdir()
    for i in range(3):
        Image.fromarray(np.full((40, 60), 50 * i, dtype=np.uint8)).save(tmp_path / "x" / f"{i}.png")
    table, rows = tmp_path / "mine.csv", "".join(f"x/{i}.png,p{i},{i % 2}\n" for i in range(3))
    table.write_text("paths,patient,Mass\n" + rows)
    command = [
        "prepare",
        str(tmp_path),
        str(tmp_path / "store"),
        "--table",
        str(tmp_path / "mine.csv"),
        "--workers",
        "1",
    ]
    assert main(command) == 2
    assert (
        "no column 'path' (files of images); give --image-column paths. The file has paths, patient, Mass"
        in capsys.readouterr().err
    )
    table.write_text("path,patient,Mass\n" + rows)
    assert main(command) == 0
    store = ImageStore.open(tmp_path / "store")
    np.testing.assert_array_equal(store["x/2.png"], decode(tmp_path / "x" / "2.png", 224))


def test_what_is_missing_is_said_with_nihs_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(tmp_path), str(tmp_path / "store")]) == 2
    assert "no Data_Entry_2017*.csv in" in capsys.readouterr().err
