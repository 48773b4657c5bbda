"""Every kind of X-ray file becomes the same grey square, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awb import AWBError
from examples.chestxray14.decode import decode


@pytest.fixture
def grey() -> np.ndarray:
    """A smooth picture, 200 × 300."""
    y, x = np.mgrid[:200, :300]
    return (127 + 60 * np.sin(x / 20) + 60 * np.cos(y / 31)).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_square_is_the_mean_of_what_it_covers(tmp_path: Path, grey: np.ndarray) -> None:
    found = decode(save(tmp_path / "a.png", grey), 50)
    means = grey.reshape(50, 4, 50, 6).mean((1, 3))
    assert found.shape == (50, 50)
    assert found.dtype == np.uint8
    # a triangle of twice the width instead of a box: alike where the picture is smooth, away from the border
    assert np.abs(found.astype(float) - means)[2:-2, 2:-2].max() < 3


def test_an_image_of_the_stores_size_is_not_changed(tmp_path: Path, grey: np.ndarray) -> None:
    square = np.ascontiguousarray(grey[:, :200])
    np.testing.assert_array_equal(decode(save(tmp_path / "a.png", square), 200), square)


def test_three_equal_channels_an_opaque_alpha_and_a_palette_are_the_grey_image(
    tmp_path: Path, grey: np.ndarray
) -> None:
    square = np.ascontiguousarray(grey[:, :200])
    rgb = np.stack([square] * 3, axis=-1)
    rgba = np.concatenate([rgb, np.full_like(square, 255)[..., None]], axis=-1)
    paths = [save(tmp_path / "rgb.png", rgb), save(tmp_path / "rgba.png", rgba), tmp_path / "palette.png"]
    Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE).save(paths[-1])
    for path in paths[:2]:
        np.testing.assert_array_equal(decode(path, 200), square)
    assert np.abs(decode(paths[-1], 200).astype(int) - square).max() <= 2


def test_a_jpeg_that_is_decoded_at_a_fraction_is_nearly_the_png(tmp_path: Path) -> None:
    y, x = np.mgrid[:1024, :1024]
    pixels = (127 + 60 * np.sin(x / 80) + 60 * np.cos(y / 131)).astype(np.uint8)
    png = decode(save(tmp_path / "a.png", pixels), 128)
    jpeg = decode(save(tmp_path / "a.jpg", pixels, quality=95), 128)
    assert np.abs(png.astype(int) - jpeg).max() <= 4


@pytest.mark.parametrize(
    ("kind", "words"),
    [("sixteen bits", "more bits must be windowed"), ("transparent", "partly transparent"), ("cmyk", "mode CMYK")],
)
def test_what_cannot_be_brought_to_8_bits_without_a_guess_is_refused_by_name(
    tmp_path: Path, grey: np.ndarray, kind: str, words: str
) -> None:
    path = tmp_path / ("a.tif" if kind == "cmyk" else "a.png")
    if kind == "sixteen bits":
        save(path, grey.astype(np.uint16) * 16)
    elif kind == "transparent":
        save(path, np.stack([grey] * 4, axis=-1))
    else:
        Image.fromarray(np.stack([grey] * 3, axis=-1)).convert("CMYK").save(path)
    with pytest.raises(AWBError, match=f"(?i){words}"):
        decode(path, 64)


# a JPEG has no checksum: one byte may change without anybody's noticing
@pytest.mark.parametrize("suffix_and_damage", ["png cut", "png byte", "png text", "png empty", "jpg cut", "jpg empty"])
def test_damaged_files_are_refused(tmp_path: Path, grey: np.ndarray, suffix_and_damage: str) -> None:
    suffix, damage = suffix_and_damage.split()
    content = bytearray(save(tmp_path / f"a.{suffix}", grey).read_bytes())
    middle = len(content) // 2
    if damage == "cut":
        content = content[:middle]
    elif damage == "byte":
        content[middle] ^= 1
    else:
        content = bytearray(b"<html>not found</html>" if damage == "text" else b"")
    path = tmp_path / f"b.{suffix}"
    path.write_bytes(content)
    with pytest.raises(AWBError, match="cannot be decoded"):
        decode(path, 64)
