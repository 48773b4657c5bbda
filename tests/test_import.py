"""`import awb` is light: what costs time is imported when it is used."""

from __future__ import annotations

import subprocess
import sys


def test_import_leaves_the_heavy_libraries_alone() -> None:
    heavy = ("torchvision", "timm", "fvcore", "sklearn", "scipy")
    code = f"import sys, awb, awb.study; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
