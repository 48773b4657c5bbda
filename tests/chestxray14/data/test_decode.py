"""Every kind of X-ray file becomes the same grey square, or is refused by name."""

from __future__ import annotations

import ast
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from awb import AWBError
from examples.chestxray14.data.decode import FORMATS, Decoding, decode, decode_and_look
from tests.chestxray14.image_files import write_png, write_tiff


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
    [
        ("sixteen bits", "16 bits per channel.*Window the image to 8 bits"), ("transparent", "partly transparent"),
        ("cmyk.tif", "mode CMYK"), ("cmyk.jpg", "mode CMYK"), ("float", "32 bits per channel"), ("one bit", "mode 1;"),
        ("one transparent colour", "partly transparent"), ("a transparent colour of a palette", "partly transparent"),
    ],
)  # fmt: skip
def test_what_cannot_be_brought_to_8_bits_without_a_guess_is_refused_by_name(
    tmp_path: Path, grey: np.ndarray, kind: str, words: str
) -> None:
    colour, path = Image.fromarray(np.stack([grey] * 3, axis=-1)), tmp_path / "a.png"
    if kind == "sixteen bits":
        save(path, grey.astype(np.uint16) * 16)
    elif kind == "transparent":
        save(path, np.stack([grey] * 4, axis=-1))
    elif kind.startswith("cmyk"):
        path = tmp_path / kind
        colour.convert("CMYK").save(path)
    elif kind == "float":
        path = save(tmp_path / "a.tif", grey.astype(np.float32))
    elif kind == "one bit":
        Image.fromarray(grey).convert("1").save(path)
    elif kind == "one transparent colour":
        save(path, grey, transparency=int(grey[0, 0]))
    else:
        palette = colour.convert("P", palette=Image.Palette.ADAPTIVE)
        palette.save(path, transparency=palette.getpixel((0, 0)))
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


@pytest.mark.parametrize(
    ("suffix", "colour", "channels"),
    [("png", 0, 1), ("png", 2, 3), ("png", 4, 2), ("png", 6, 4), ("tif", 2, 3)],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_sixteen_bits_are_refused_with_and_without_colour_and_alpha(
    tmp_path: Path, suffix: str, colour: int, channels: int, bits: int
) -> None:
    levels = np.arange(4096).reshape(64, 64)  # 12 bits, of which Pillow keeps the 4 highest where there is colour
    pixels = np.stack([levels] * channels, axis=-1).astype(np.uint16 if bits == 16 else np.uint8)
    if channels in (2, 4):
        pixels[..., -1] = np.iinfo(pixels.dtype).max
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        write_png(path, pixels, colour)
    else:
        write_tiff(path, pixels)
    if bits == 8:
        np.testing.assert_array_equal(decode(path, 64), levels.astype(np.uint8))
    else:
        with pytest.raises(AWBError, match="16 bits per channel"):
            decode(path, 64)


def test_12_bit_jpegs_are_refused(tmp_path: Path, grey: np.ndarray) -> None:
    content = bytearray(save(tmp_path / "a.jpg", grey).read_bytes())
    content[content.index(b"\xff\xc0") + 4] = 12
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(AWBError, match="cannot be decoded"):
        decode(tmp_path / "a.jpg", 64)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_stored_as_viewers_show_it(tmp_path: Path, suffix: str, orientation: int) -> None:
    pixels = np.zeros((64, 64), np.uint8)
    pixels[:32, :32], pixels[:32, 32:], pixels[32:, :32] = 200, 130, 60  # each quarter another
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", pixels, exif=exif)
    marked = Image.fromarray(pixels)
    marked.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(marked)).astype(int)
    assert np.abs(decode(path, 64)[8::16, 8::16] - expected[8::16, 8::16]).max() < 8


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.jpg"])  # the last is an MPO
def test_several_frames_are_refused(tmp_path: Path, grey: np.ndarray, name: str) -> None:
    first, second = Image.fromarray(grey), Image.fromarray(255 - grey)
    kind = {"format": "MPO"} if name == "a.jpg" else {}
    first.save(tmp_path / name, save_all=True, append_images=[second], **kind)
    with pytest.raises(AWBError, match="2 frames; expected one"):
        decode(tmp_path / name, 64)


def test_interlaced_and_progressive_files_are_the_same_picture(tmp_path: Path, grey: np.ndarray) -> None:
    square = np.ascontiguousarray(grey[:, :200])
    path = write_png(tmp_path / "a.png", square[..., None], 0, interlaced=True)
    np.testing.assert_array_equal(decode(path, 200), square)
    plain, progressive = (
        decode(save(tmp_path / f"{kind}.jpg", square, progressive=kind), 200) for kind in (False, True)
    )  # fmt: skip
    np.testing.assert_array_equal(plain, progressive)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # which is all that Pillow says of the first
@pytest.mark.parametrize("side", [10_000, 100_000])
def test_what_may_be_a_decompression_bomb_is_refused(tmp_path: Path, side: int) -> None:
    content = bytearray(write_png(tmp_path / "a.png", np.zeros((1, 1, 1), np.uint8), 0).read_bytes())
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(AWBError, match="could be decompression bomb"):
        decode(tmp_path / "a.png", 64)


@pytest.mark.parametrize("name", ["a.png", "a.eps", "a.jpg"])
def test_no_image_file_runs_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Pillow takes a file for what it holds, and for EPS starts Ghostscript; here one that leaves a mark."""
    program, mark = tmp_path / "gs", tmp_path / "mark"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\n%%EOF\n")
    with pytest.raises(AWBError, match="cannot be decoded"):
        decode(tmp_path / name, 16)
    assert not mark.exists()
    with Image.open(tmp_path / name) as image, pytest.raises(OSError):  # noqa: PT011, the mark is what matters
        image.load()
    assert mark.exists()  # so would have been seen


@pytest.mark.parametrize("kind", ["GIF", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "SGI"])
def test_other_formats_are_refused_whatever_their_name(tmp_path: Path, kind: str) -> None:
    assert kind not in FORMATS
    Image.new("L", (32, 32)).save(tmp_path / "a.png", format=kind)
    with pytest.raises(AWBError, match="cannot identify"):
        decode(tmp_path / "a.png", 16)


def test_every_image_is_opened_by_the_formats_that_are_meant() -> None:
    root = Path(__file__).parents[3]
    for path in (path for folder in ("awb", "benchmarks", "examples") for path in (root / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                assert "formats" in [keyword.arg for keyword in node.keywords], f"{path}:{node.lineno}"


def colours(path: Path, **options: Any) -> Path:
    """A file of 96×96 with a different gradient in each channel."""
    ramp = np.linspace(0, 255, 96).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 255 - ramp[:, None]), axis=2)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp"])
def test_colours_are_kept_if_asked_for_and_seen_if_not(tmp_path: Path, name: str) -> None:
    path = colours(tmp_path / name)
    kept, looked = decode_and_look(path, Decoding(48, colour=True)), decode_and_look(path, Decoding(48))
    np.testing.assert_array_equal(looked.pixels, decode(path, 48))
    assert kept.pixels.shape == (48, 48, 3)
    assert kept.in_colour
    assert looked.in_colour
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB").resize((48, 48), Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(kept.pixels - expected).max() <= (12 if name == "a.jpg" else 2)
    luma = kept.pixels @ [0.299, 0.587, 0.114]
    assert np.abs(luma - looked.pixels).max() <= (6 if name == "a.jpg" else 2)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("RGB", "png"), ("RGBA", "png"), ("L", "jpg"), ("RGB", "jpg")]
)
def test_grey_is_not_taken_for_colour_and_has_three_equal_channels(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (96, 96), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    grey = decode_and_look(path, Decoding(48))
    assert not grey.in_colour
    three = np.repeat(grey.pixels[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(decode(path, 48, colour=True), three)


def test_the_orientation_and_what_is_refused_are_the_same_in_colour(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    upright = decode(colours(tmp_path / "a.jpg"), 48, colour=True)
    turned = decode(colours(tmp_path / "b.jpg", exif=exif), 48, colour=True)
    np.testing.assert_allclose(turned, np.rot90(upright, -1), atol=1)  # rows are resized before columns
    write_png(tmp_path / "deep.png", np.zeros((8, 8, 3), dtype=np.uint16), 2)
    Image.new("RGBA", (8, 8), (1, 2, 3, 128)).save(tmp_path / "clear.png")
    for name, words in (("deep.png", "16 bits per channel"), ("clear.png", "partly transparent")):
        with pytest.raises(AWBError, match=words):
            decode(tmp_path / name, 48, colour=True)
