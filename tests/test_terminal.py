"""A command prints on every terminal, and an end that is not the usual one is one line."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from awb.terminal import print_anything, run_to_the_end

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("ascii", b"14x14, 0-5, scan-\\udcff, \\u65e5"),
        ("latin-1", "14×14, 0-5, scan-\\udcff, \\u65e5".encode("latin-1")),
        ("utf-8", "14×14, 0–5, scan-\\udcff, 日".encode()),
    ],
)
def test_any_text_is_printed_on_any_terminal(encoding: str, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files that are not in UTF-8 too."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding))
    print_anything()
    print("14×14, 0–5,", b"scan-\xff,".decode("utf-8", "surrogateescape"), "日")
    sys.stdout.flush()
    assert printed.getvalue() == said + b"\n"


@pytest.mark.slow
def test_a_table_is_printed_where_there_are_no_letters_but_ascii_s() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "awb", "stages", "torchvision:resnet18"], cwd=ROOT, capture_output=True,
        env=os.environ | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": ""},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert b"14x14" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, a disk that is always full")
def test_output_to_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "awb", "attention"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 2
    assert result.stderr == "error: No space left on device\n"


def stopped() -> int:
    raise KeyboardInterrupt


def full() -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def unreadable() -> int:
    raise PermissionError(errno.EACCES, "Permission denied", "a.csv")


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (stopped, 130, "\nstopped by Ctrl-C; go on\n"),
        (full, 2, "error: No space left on device; go on\n"),
        (unreadable, 2, "error: a.csv: Permission denied\n"),
        (lambda: 3, 3, ""),
    ],
)
def test_an_end_is_one_line(command: object, status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_to_the_end(command, advice="; go on") == status  # type: ignore[arg-type]
    assert capsys.readouterr().err == said


def test_an_error_that_is_of_no_file_or_disk_is_not_hidden() -> None:
    def refused() -> int:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    with pytest.raises(ConnectionRefusedError):
        run_to_the_end(refused)
