"""`import awb` is light: what costs time is imported when it is used."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import awb


def test_import_leaves_the_heavy_libraries_alone() -> None:
    heavy = ("torchvision", "timm", "fvcore", "sklearn", "scipy")
    code = f"import sys, awb, awb.study; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_study_is_there_after_import_awb_and_not_before_it_is_used() -> None:
    code = "import sys, awb; before = 'awb.study' in sys.modules; print(before, awb.study.audit_leakage.__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "audit_leakage"]


def test_dir_shows_what_is_public() -> None:
    shown = [name for name in dir(awb) if not name.startswith("__")]
    assert shown == sorted([*awb.__all__, "study"])
    assert "__version__" in dir(awb)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("save", "; did you mean 'save_awb'?"),
        ("load", "; did you mean 'load_awb'?"),
        ("detach", "; did you mean 'detach_awb'?"),
        ("backbone", "; did you mean 'freeze_backbone' or 'unfreeze_backbone'?"),
        ("sumary", "; did you mean 'summary'?"),
        ("studdy", "; did you mean 'study'?"),
        ("qqq", ""),
    ],
)
def test_names_that_there_are_not(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'awb' has no attribute '{name}'") as raised:
        getattr(awb, name)
    assert str(raised.value).endswith(meant or "'")
    assert not hasattr(awb, name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("attach", "attach_awb"), ("plan", "plan_awb"), ("capture", "capture_attention"), ("stages", "find_stages")],
)
def test_a_module_that_is_called_says_which_function_may_be_meant(name: str, meant: str) -> None:
    module = getattr(awb, name)
    assert isinstance(module, ModuleType)
    with pytest.raises(TypeError, match=f"awb.{name} is a module; did you mean '{meant}'"):
        module(None)
