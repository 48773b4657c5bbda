"""Rooms of the example import downwards only, and a command starts only what it needs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from examples.chestxray14.__main__ import COMMANDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "chestxray14"
# each may import itself and those before it
ROOMS = (
    "files", "child_processes", "workers", "recipes", "data", "phantoms", "runs", "training", "evaluation",
    "explanation", "prediction", "reproduction", "commands", "__main__",
)  # fmt: skip


def room(module: str) -> str:
    """`data` of `examples.chestxray14.data.splits`."""
    return module.split(".")[2]


def imports() -> list[tuple[str, str]]:
    """Pairs of modules of the example: importing, imported."""
    found = []
    for path in EXAMPLE.rglob("*.py"):
        if path.parent == EXAMPLE and path.stem == "__init__":
            continue
        module = ".".join(path.relative_to(EXAMPLE.parents[1]).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("examples.chestxray14."):
                found.append((module, node.module or ""))
    return found


def test_no_room_imports_a_later_one() -> None:
    pairs = imports()
    assert len(pairs) > 100
    upward = [pair for pair in pairs if ROOMS.index(room(pair[1])) > ROOMS.index(room(pair[0]))]
    assert upward == []


def test_every_command_has_its_module_and_nothing_imports_it_from_another_room() -> None:
    modules = {path.stem for path in (EXAMPLE / "commands").glob("*.py")}
    assert COMMANDS.keys() <= modules
    assert [pair for pair in imports() if room(pair[1]) == "commands" != room(pair[0])] == []


@pytest.mark.slow
def test_train_imports_no_painter_and_no_scipy_ndimage() -> None:
    """Until it validates: scikit-learn's AUROC loads scipy.ndimage."""
    code = """
import sys
from examples.chestxray14.__main__ import main
try:
    main(["train", "--help"])
except SystemExit:
    print([name for name in sys.modules if ".phantoms" in name or name.startswith("scipy.ndimage")])
    print("examples.chestxray14.training.trainer" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=EXAMPLE.parents[1], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-2:] == ["[]", "True"]
