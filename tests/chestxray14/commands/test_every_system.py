"""The example runs where Unix's own modules are not: as on Windows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for folder in ("awb", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__main__.py"
)
UNIX = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog")
# of `os` and `signal`, where Windows has no such thing
ATTRIBUTES = {
    "fork", "forkpty", "pwrite", "pread", "sched_getaffinity", "getuid", "geteuid", "getpgid", "killpg",
    "setsid", "uname", "wait3", "mkfifo", "statvfs", "posix_fadvise", "nice", "SIGKILL", "SIGHUP", "SIGALRM",
    "alarm", "O_DIRECTORY", "O_NOFOLLOW",
}  # fmt: skip


@pytest.mark.slow
def test_every_module_is_imported_and_locks_hold_without_unix_s_modules() -> None:
    code = f"""
import sys
for name in {UNIX}:
    sys.modules[name] = None
import importlib
for name in {MODULES}:
    importlib.import_module(name)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_module_asks_for_what_windows_lacks() -> None:
    asked = [
        f"{name}, line {node.lineno}: {node.attr}"
        for name, node in nodes()
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("os", "signal")
        and node.attr in ATTRIBUTES
    ]
    assert asked == []


def test_no_text_is_read_or_written_in_the_system_s_own_encoding() -> None:
    """Elsewhere than on Linux that is not UTF-8, and a file of names would be read as others."""
    lacking = [
        f"{name}, line {node.lineno}"
        for name, node in nodes()
        if isinstance(node, ast.Call) and _is_text_of_the_system_s(node)
    ]
    assert lacking == []


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for name in MODULES:
        path = ROOT / name.replace(".", "/")
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            yield name, node


def _is_text_of_the_system_s(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in ("open", "read_text", "write_text") or any(word.arg == "encoding" for word in call.keywords):
        return False
    owner = getattr(getattr(call.func, "value", None), "id", "")
    mode = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    return owner not in ("Image", "os", "ImageStore", "cls", "gzip") and not any("b" in str(word) for word in mode)
