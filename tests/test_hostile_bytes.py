"""Whatever is at a path, `load_awb` refuses it with AWBError, and leaves the model as it was."""

from __future__ import annotations

import os
import pickle
import random
import struct
from pathlib import Path
from typing import Any

import pytest

import awb
from tests.damaged import File, backbone


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> File:
    return File(tmp_path_factory.mktemp("maps") / "blocks.safetensors", attention="timm_cbam", rd_ratio=0.25)


def with_header(header: bytes | str, length: int | None = None, rest: bytes = b"") -> bytes:
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + rest


RAW = {
    "nothing": b"",
    "seven bytes": b"\0" * 7,
    "zeros": b"\0" * 4096,
    "text": b"hello, this is no safetensors file",
    "pickle": pickle.dumps({"fc.weight": [1.0]}),
    "longest header": with_header("{}", length=2**64 - 1),
    "header of 100 MB": with_header("{}", length=10**8),
    "header longer than the file": with_header("{", length=99_999_999),
    "deep header": with_header("[" * 200_000),
    "header not UTF-8": with_header(b"\xff\xfe\xfd\xfc"),
    "header a list": with_header("[]"),
    "numbers in the metadata": with_header('{"__metadata__": {"format": 3}}'),
    "a terabyte promised": with_header('{"x":{"dtype":"F32","shape":[250000000000],"data_offsets":[0,1000000000000]}}'),
    "an overflowing shape": with_header('{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'),
    "a negative shape": with_header('{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', rest=b"abcd"),
    "no dtype that there is": with_header('{"x":{"dtype":"F3","shape":[1],"data_offsets":[0,4]}}', rest=b"abcd"),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_safetensors_file(name: str, maps: File) -> None:
    assert maps.refusal(RAW[name])


def test_truncated_files(maps: File) -> None:
    for length in (1, 8, 9, 100, len(maps.bytes) // 2, len(maps.bytes) - 1):
        assert maps.refusal(maps.bytes[:length])
    assert maps.refusal(maps.bytes + b"\0")


@pytest.mark.slow
def test_flipped_bits_in_the_header(maps: File) -> None:
    """Most are refused; some change a name that nothing depends on, or a value of the plan to another right one."""
    (length,) = struct.unpack("<Q", maps.bytes[:8])
    choose = random.Random(0)
    refusals = 0
    for _ in range(30):
        data = bytearray(maps.bytes)
        data[choose.randrange(8 + length)] ^= 1 << choose.randrange(8)
        try:
            maps.load(bytes(data))
        except awb.AWBError:
            refusals += 1
    assert refusals > 15


def test_paths_that_are_no_files(tmp_path: Path, maps: File) -> None:
    pipe, dangling, loop = tmp_path / "pipe", tmp_path / "dangling", tmp_path / "loop"
    os.mkfifo(pipe)
    dangling.symlink_to(tmp_path / "nothing")
    loop.symlink_to(loop)
    places = [tmp_path, pipe, dangling, loop, "/dev/null", "/dev/zero", tmp_path / "none", "", "a\0b", "x" * 5000]
    for place in places:
        with pytest.raises(awb.AWBError) as caught:
            awb.load_awb(backbone("test_resnet"), place)
        assert str(caught.value)


@pytest.mark.parametrize("wrong", [3, None, b"x", ["a"]])
def test_paths_that_are_no_paths(wrong: Any) -> None:
    with pytest.raises(awb.AWBError, match="path"):
        awb.load_awb(backbone("test_resnet"), wrong)
