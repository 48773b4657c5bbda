"""An exported run computes by ONNX Runtime what `predict` computes, and says what it is."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from torch import Tensor, nn

import awb
from awb import AWBError
from awb.study import read_labels, read_predictions
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.decode import decode
from examples.chestxray14.evaluation.decisions import read_decisions, undecided
from examples.chestxray14.prediction.export import to_onnx
from examples.chestxray14.prediction.onnx_check import compare_with_pytorch
from examples.chestxray14.prediction.onnx_network import PixelNetwork
from examples.chestxray14.recipes.transforms import Transform
from examples.chestxray14.runs.folder import RunFolder


@pytest.fixture(scope="module")
def exported(calibrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("export") / "run.onnx"
    assert main(["export", str(calibrated), str(path)]) == 0
    yield path
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_onnx_runtime_predicts_the_runs_test_images_to_1e_5(calibrated: Path, exported: Path, images: Path) -> None:
    labels = read_labels(calibrated / "evaluation" / "labels-test.csv", group="patient")
    expected = read_predictions(calibrated / "evaluation" / "predictions-test.csv", labels)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    pixels = np.stack([decode(images / name, 32) for name in labels.images])[:, None]
    for batch in (1, len(pixels)):
        found = [
            session.run(["probabilities"], {"pixels": pixels[start : start + batch]})[0]
            for start in range(0, len(pixels), batch)
        ]
        np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_file_says_which_run_it_is_and_how_to_use_it(calibrated: Path, exported: Path) -> None:
    said = onnxruntime.InferenceSession(exported).get_modelmeta().custom_metadata_map
    rules, folder = read_decisions(RunFolder(calibrated)), RunFolder(calibrated)
    assert rules is not None
    assert tuple(json.loads(said["classes"])) == rules.classes
    assert tuple(json.loads(said["thresholds"])) == rules.thresholds
    assert json.loads(said["temperatures"]) == rules.scale
    assert json.loads(said["mean"]) == pytest.approx([0.485, 0.456, 0.406])
    assert (said["store_size"], said["input_size"], said["channels"]) == ("32", "32", "1")
    assert said["recipe_sha256"] == folder.read_recipe().checksum
    assert said["note"].startswith("SYNTHETIC phantoms")
    assert "Not a medical device" in said["note"]


def test_files_that_are_there_or_cannot_be_are_refused_before_anything(
    calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.onnx"
    there.write_text("mine")
    for out, why in (
        (there, "is there already"), (tmp_path / "a.pt", "ends in .onnx"), (tmp_path / "no" / "a.onnx", "no folder"),
    ):  # fmt: skip
        assert main(["export", str(calibrated), str(out)]) == 2
        assert why in capsys.readouterr().err
    assert there.read_text() == "mine"


class Branching(nn.Module):
    """A network that takes another way for dark images, which no graph can."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) if images.mean().item() > 0 else images.amax(dim=(2, 3))


class Drifting(nn.Module):
    """A network that computes something else while it is exported."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) * (1.0 if torch.compiler.is_exporting() else 1.1)


def pixel_network(model: nn.Module, classes: int = 3, size: int = 32) -> PixelNetwork:
    rules = undecided("findings", tuple(f"class {i}" for i in range(classes)))
    return PixelNetwork(model, Transform(size), rules, colour=False)


@pytest.mark.slow
def test_a_network_that_has_no_graph_is_refused_in_one_sentence() -> None:
    with pytest.raises(AWBError, match=r"^my network cannot be exported to ONNX by this version of torch \(.*\)$"):
        to_onnx(pixel_network(Branching()), "my network")


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_refused() -> None:
    network = pixel_network(Drifting())
    content = to_onnx(network, "drifting").SerializeToString()
    with pytest.raises(AWBError, match=r"ONNX Runtime differs from PyTorch by .* nothing was written"):
        compare_with_pytorch(content, network)


@pytest.mark.rest
@pytest.mark.parametrize("name", timm.list_models("test_*"))
def test_every_family_exports_with_blocks(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3)
    awb.attach_awb(model, "last", init="identity", input_size=160)
    network = pixel_network(model, size=160)
    compare_with_pytorch(to_onnx(network, name).SerializeToString(), network)


@pytest.mark.slow
def test_crop_softmax_and_colour_are_inside() -> None:
    torch.manual_seed(0)
    transform = Transform(16, resize=20)
    rules = undecided("classes", ("a", "b"))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    network = PixelNetwork(model, transform, rules, colour=True)
    content = to_onnx(network, "colour").SerializeToString()
    compare_with_pytorch(content, network)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(content)
    (probs,) = session.run(["probabilities"], {"pixels": np.moveaxis(pixels, 2, 0)[None]})
    with torch.no_grad():
        expected = model.eval()(transform(pixels.copy())[None]).softmax(dim=1)
    np.testing.assert_allclose(probs, expected.numpy(), rtol=0, atol=1e-6)
