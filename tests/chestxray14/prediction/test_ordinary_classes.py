"""A run of ordinary classes: its predictions are `evaluate`'s, and its file computes them too."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from scipy.special import softmax

from awb.study import fit_softmax_temperature, read_labels, read_predictions
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.decode import decode
from examples.chestxray14.evaluation.decisions import read_decisions
from examples.chestxray14.prediction import export_run, load_predictor
from examples.chestxray14.runs.folder import RunFolder
from tests.chestxray14.test_classes import CLASSES, LABELS, draw_classes, study


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `images` of five classes, and the calibrated run `run`."""
    folder = draw_classes(tmp_path_factory.mktemp("classes"), 60)
    table = str(folder / "table.csv")
    assert main(["init", table, str(folder / "mine.yaml"), *LABELS]) == 0
    words = ["prepare", str(folder / "images"), str(folder / "store"), "--table", table, "--size", "64"]
    assert main([*words, *LABELS]) == 0
    words = study(folder, "train", f"{folder / 'mine.yaml'}:tiny", folder / "run")
    assert main([*words, "--set", "stages.0.optimizer.lr=0.01", "--set", "stages.0.epochs=3"]) == 0
    assert main(study(folder, "evaluate", folder / "run", "--replicates", "50", "--calibrate")) == 0
    return folder


@pytest.mark.slow
def test_classes_are_predicted_as_evaluated_calibrated_by_one_temperature(classes: Path, tmp_path: Path) -> None:
    evaluation = classes / "run" / "evaluation"
    labels = read_labels(evaluation / "labels-test.csv", group="patient", classes=CLASSES)
    expected = read_predictions(evaluation / "predictions-test.csv", labels)
    paths = [classes / "images" / name for name in labels.images]
    table = load_predictor(classes / "run")(paths, relative_to=classes / "images")
    np.testing.assert_array_equal(table.probabilities, expected)
    names = np.array(labels.classes)
    np.testing.assert_array_equal(table.decisions, names[expected.argmax(axis=1)])
    table.to_csv(tmp_path / "out.csv")
    header, first, *_ = (tmp_path / "out.csv").read_text().splitlines()
    assert header == ",".join(["image", *labels.classes, "predicted class"])
    assert first.endswith(f",{names[expected[0].argmax()]}")

    rules = read_decisions(RunFolder(classes / "run"))
    assert rules is not None
    assert set(rules.thresholds) == {None}
    (temperature,) = set(rules.temperatures)
    assert temperature is not None
    validation = read_labels(evaluation / "labels-validation.csv", group="patient", classes=CLASSES)
    logits = temperature * np.log(read_predictions(evaluation / "predictions-validation.csv", validation))
    assert fit_softmax_temperature(validation.labels, logits) == pytest.approx(temperature, rel=1e-5)

    path = export_run(classes / "run", tmp_path / "run.onnx").path
    pixels = np.stack([decode(file, 64) for file in paths])[:, None]
    found_logits, found = onnxruntime.InferenceSession(path).run(["logits", "probabilities"], {"pixels": pixels})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(softmax(found_logits / temperature, axis=1), expected, rtol=0, atol=1e-5)
