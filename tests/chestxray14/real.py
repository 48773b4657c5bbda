"""Where NIH's real files are, for the tests that want them: beside the checkout, or where AWB_SHARED says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[2].parent / "shared"
NIH = Path(os.environ.get("AWB_SHARED", _BESIDE)) / "data" / "nih"
needs_nih = pytest.mark.skipif(not NIH.is_dir(), reason="NIH's files are not in ../shared (or AWB_SHARED)")
