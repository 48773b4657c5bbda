"""Sums name what was changed or lost, and coreutils reads them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from examples.chestxray14.files.checksums import changed_files, write_sums


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    files = [tmp_path / "weights, final.bin", tmp_path / "below" / "table.csv"]
    for file in files:
        file.write_text(file.name)
    write_sums(tmp_path / "SHA256SUMS", files)
    return tmp_path / "SHA256SUMS"


def test_nothing_is_changed_at_first(sums: Path) -> None:
    assert changed_files(sums) == []


def test_a_changed_and_a_lost_file_are_named(sums: Path) -> None:
    (sums.parent / "weights, final.bin").write_text("weights, other.bin")
    (sums.parent / "below" / "table.csv").unlink()
    assert changed_files(sums) == ["weights, final.bin", "below/table.csv"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_agrees(sums: Path) -> None:
    def check() -> int:
        return subprocess.run(["sha256sum", "-c", sums.name], cwd=sums.parent, capture_output=True).returncode

    assert check() == 0
    (sums.parent / "below" / "table.csv").write_text("")
    assert check() == 1
