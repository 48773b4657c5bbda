"""The page "From your table to predictions", command by command, as it is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from examples.chestxray14.__main__ import main

PAGE = Path(__file__).parents[3] / "docs" / "chestxray14" / "own-data.md"
PREFIX = "python -m examples.chestxray14 "


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.rest
def test_the_page_goes_from_table_to_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (images,) = blocks("python")
    exec(images, {"__name__": "__main__"})
    lines = "".join(blocks("console")).replace("\\\n", " ").splitlines()
    for line in lines:
        assert main(shlex.split(line.removeprefix("$ ").removeprefix(PREFIX))) == 0, line
    for name in ("predictions.csv", "classes-predictions.csv"):
        assert len(Path(name).read_text(encoding="utf-8").splitlines()) == 1 + 5
    assert all(Path(name).stat().st_size > 1000 for name in ("xrays.onnx", "classes.onnx", "out/report.html"))
    assert any(Path("maps").iterdir())
