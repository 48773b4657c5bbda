"""A file that is saved again is the old one or the new one, whole, whatever happens."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import awb
from tests.helpers import perturb


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(7)
    model = awb.attach_awb(timm.create_model("test_resnet", num_classes=5), "last", input_size=64)
    perturb(model)
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blocks.safetensors"


def test_a_full_disk_leaves_the_old_file_and_no_other(model: nn.Module, path: Path) -> None:
    awb.save_awb(model, path)
    before = path.read_bytes()
    perturb(model)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(awb.AWBError, match=r"blocks.safetensors could not be written: File too large"):
            awb.save_awb(model, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    awb.save_awb(model, path)
    assert path.read_bytes() != before


def test_a_refused_save_leaves_the_old_file(model: nn.Module, path: Path) -> None:
    awb.save_awb(model, path)
    before = path.read_bytes()
    with torch.no_grad():
        next(awb.awb_parameters(model)).fill_(float("nan"))
    with pytest.raises(awb.AWBError, match=r"layer4.0.awb.* NaN"):
        awb.save_awb(model, path)
    assert path.read_bytes() == before


@pytest.mark.rest
def test_a_killed_process_leaves_a_whole_file(path: Path) -> None:
    program = """
import sys, timm, torch, awb
torch.manual_seed(7)
model = awb.attach_awb(timm.create_model("test_resnet", num_classes=5), [3, 4], input_size=64)
while True:
    awb.save_awb(model, sys.argv[1])
    print(flush=True)
"""
    for delay in (0.0, 0.003, 0.01, 0.03):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.wait()
        process.stdout.close()
        torch.manual_seed(7)
        awb.load_awb(timm.create_model("test_resnet", num_classes=5), path, input_size=64)


def test_a_link_is_followed_and_others_may_read_the_file(model: nn.Module, path: Path) -> None:
    target = path.with_name("target.safetensors")
    path.symlink_to(target)
    awb.save_awb(model, path)
    assert path.is_symlink()
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_name_as_long_as_names_can_be(model: nn.Module, path: Path) -> None:
    long = path.with_name("x" * 255)
    awb.save_awb(model, long)
    assert os.listdir(path.parent) == [long.name]


def test_places_where_no_file_can_be(model: nn.Module, path: Path) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    below = path.with_name("file")
    below.touch()
    wrong: list[Any] = [path.parent, pipe, "/dev/null", below / "x", path.with_name("x" * 256), "a\0b", 3, None, b"x"]
    for place in wrong:
        with pytest.raises(awb.AWBError) as caught:
            awb.save_awb(model, place)
        assert str(caught.value)
    assert sorted(os.listdir(path.parent)) == ["file", "pipe"]
