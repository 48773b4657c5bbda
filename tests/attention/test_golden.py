"""The kinds of the collection compute what the official code does; the command says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden")


def hold_against(folder: Path) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "benchmarks.golden", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return ended.returncode, ended.stdout.splitlines()


@pytest.mark.slow
def test_all_golden_files_are_equal() -> None:
    code, lines = hold_against(GOLDEN)
    n = len(list(GOLDEN.glob("*.json")))
    assert lines[-1] == f"{n} of {n} files equal, 0 no criterion"
    assert code == 0


@pytest.mark.slow
def test_a_wrong_value_and_an_unknown_kind_are_told(tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / "gct.json").read_text())
    (tmp_path / "unknown.json").write_text(json.dumps({**golden, "kind": "no such kind"}))
    golden["runs"][0]["eval"]["output"]["value"][3] += 1e-6
    (tmp_path / "wrong.json").write_text(json.dumps(golden))
    code, lines = hold_against(tmp_path)
    assert code == 1
    assert lines[-1] == "0 of 2 files equal, 0 no criterion"
