"""`import awb` is light: what costs time is imported when it is used."""

from __future__ import annotations

import subprocess
import sys


def test_import_leaves_the_heavy_libraries_alone() -> None:
    code = "import sys, awb; print([m for m in ('torchvision', 'timm', 'fvcore', 'sklearn') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
