"""`import awb.study` is light, knows nothing of the attach wing, and every public name is in the reference."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import awb.study

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_import_leaves_the_heavy_libraries_alone() -> None:
    code = "import sys, awb.study; print([m for m in ('torchvision', 'timm', 'sklearn', 'scipy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_wing_imports_nothing_of_awb_but_its_errors_files_and_table() -> None:
    imported = {
        name
        for path in (ROOT / "awb" / "study").rglob("*.py")
        for name in re.findall(r"^\s*(?:from|import) (awb[\w.]*)", path.read_text(), re.MULTILINE)
    }
    assert {name for name in imported if not name.startswith("awb.study")} <= {"awb.errors", "awb.files", "awb.table"}


def test_the_reference_lists_every_public_name() -> None:
    page = (ROOT / "docs" / "api" / "study.md").read_text()
    assert sorted(re.findall(r"^::: awb\.study\.(\w+)$", page, re.MULTILINE)) == sorted(awb.study.__all__)
