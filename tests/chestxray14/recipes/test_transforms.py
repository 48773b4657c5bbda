"""Without augmentation the input is torchvision's usual one; with it, a function of the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from awb import AWBError
from examples.chestxray14.recipes.transforms import Augmentation, Transform, augment


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


def some(settings: Augmentation, pixels: np.ndarray, count: int = 2000) -> list[torch.Tensor]:
    return [augment(torch.from_numpy(pixels)[None], settings, np.random.default_rng(i)) for i in range(count)]


@pytest.mark.parametrize("size", [64, 40])
def test_a_validation_image_is_what_the_usual_pipeline_makes(pixels: np.ndarray, size: int) -> None:
    usual = v2.Compose([
        v2.Resize((size, size)),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip
    expected = usual(Image.fromarray(pixels).convert("RGB"))
    found = Transform(size)(pixels)
    assert found.dtype == torch.float32
    # antialiased interpolation rounds differently in PIL: one grey level of 255
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if size == 64 else 1.01 / 255 / 0.224)


def test_half_the_images_are_flipped_and_half_rotated_by_at_most_ten_degrees() -> None:
    image = np.zeros((65, 65), dtype=np.uint8)
    image[30:35, 40:61] = 255  # a bar that points right
    y, x = np.mgrid[:65, :65] - 32
    flipped, angles = [], []
    for out in some(Augmentation(), image):
        weight = out[0].numpy() / out.sum().item()
        flipped.append((weight * x).sum() < 0)
        angles.append(np.degrees(np.arctan2((weight * y).sum(), abs((weight * x).sum()))))
    rotated = np.abs(angles) > 0.1
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.04)
    assert rotated.mean() == pytest.approx(0.5, abs=0.04)
    assert 9 < np.abs(angles).max() < 10.6
    assert abs(np.mean(angles)) < 1
    assert np.mean(rotated[np.array(flipped)]) == pytest.approx(0.5, abs=0.06)  # the one does not depend on the other


def test_nothing_is_changed_when_nothing_may_be(pixels: np.ndarray) -> None:
    for out in some(Augmentation(flip=0, rotation=0), pixels, 20):
        np.testing.assert_array_equal(out[0], pixels)


def test_zoom_enlarges_about_the_middle() -> None:
    image = np.zeros((64, 64), dtype=np.uint8)
    image[24:40, 24:40] = 255
    (out,) = some(Augmentation(flip=0, rotation=0, zoom=(2, 2)), image, 1)
    expected = np.zeros((64, 64), dtype=np.uint8)
    expected[16:48, 16:48] = 255
    assert np.abs(out[0].numpy().astype(int) - expected).mean() < 6


def test_a_crop_keeps_at_least_its_share_of_the_area(pixels: np.ndarray) -> None:
    outs = some(Augmentation(flip=0, rotation=0, crop=0.5), pixels, 400)
    areas = [out.numel() / pixels.size for out in outs]
    assert min(areas) > 0.48
    assert max(areas) > 0.98
    whole = "".join(map(chr, pixels.ravel()))
    assert all("".join(map(chr, out[0, 0].tolist())) in whole for out in outs[:20])  # rows of the image
    assert Transform(32, Augmentation(crop=0.5))(pixels, np.random.default_rng(0)).shape == (3, 32, 32)


def test_changing_one_setting_leaves_the_other_draws_alone(pixels: np.ndarray) -> None:
    flips = [out.numpy() for out in some(Augmentation(rotation=0), pixels, 30)]
    for rotated, flipped in zip(some(Augmentation(zoom=(1.0001, 1.0001), rotation=0), pixels, 30), flips, strict=True):
        assert np.abs(rotated.numpy().astype(int) - flipped).mean() < 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"flip": 2}, "flip 2"), ({"crop": 0}, "crop 0"), ({"zoom": (2, 1)}, "zoom"), ({"rotation": -1}, "rotation -1")],
)
def test_impossible_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(AWBError, match=words):
        Augmentation(**settings)  # type: ignore[arg-type]


def test_an_augmentation_without_a_generator_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(AWBError, match="needs a generator"):
        Transform(64, Augmentation())(pixels)
