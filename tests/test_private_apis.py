"""Private names of other libraries stand in awb/private_apis.py alone, so that a new release breaks one file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

import awb

ROOT = Path(awb.__file__).parent
ROOM = ROOT / "private_apis.py"
TREES = {path: ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py")) if path != ROOM}
PUBLIC = {"_make", "_asdict"}  # of named tuples, underscored lest they be fields
FORMER = {"_new_host", "_nobody"}  # of awb itself, in old pickles
_PRIVATE = re.compile(r"(\w+\.)*_[a-z]\w*")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names() -> set[str]:
    """The private names that awb itself gives to functions, classes, variables and attributes."""
    found = set()
    for node in (node for tree in TREES.values() for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            found.add(node.attr)
    return found


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def foreign_names(tree: ast.AST, own: set[str]) -> Iterator[tuple[int, str]]:
    """(line, name) of the private names that a file takes from elsewhere, also as strings such as for getattr."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own | PUBLIC | FORMER:
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom) and not (node.module or "awb").startswith("awb"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from ((node.lineno, name) for name in names if is_private(name))
        elif isinstance(node, ast.Import):
            names = [name for alias in node.names for name in alias.name.split(".")]
            yield from ((node.lineno, name) for name in names if is_private(name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _PRIVATE.fullmatch(node.value):
            name = node.value.rpartition(".")[2]
            if name not in own | PUBLIC | FORMER and not name.startswith("_awb_"):
                yield node.lineno, node.value


def test_no_file_but_one_uses_private_names_of_other_libraries() -> None:
    own = own_names()
    found = [f"{path.relative_to(ROOT)}:{line}: {name}" for path, tree in TREES.items()
             for line, name in foreign_names(tree, own)]  # fmt: skip
    assert found == []


def test_no_file_but_one_overrides_private_methods_of_modules() -> None:
    theirs = {name for name in [*dir(nn.Module), *vars(nn.Module())] if is_private(name)}
    assert {"_apply", "_load_from_state_dict", "_forward_hooks"} <= theirs
    assert own_names() & theirs == set()


@pytest.mark.parametrize(
    "code",
    [
        "module._forward_hooks.clear()",
        "getattr(module, '_orig_mod')",
        "type(model).__module__ == 'timm.models._features'",
        "from torch.utils._pytree import tree_leaves",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "import torch._dynamo",
        "torch._C._get_tracing_state()",
    ],
)
def test_a_private_name_is_seen(code: str) -> None:
    assert list(foreign_names(ast.parse(code), own_names()))
