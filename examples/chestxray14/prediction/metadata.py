"""What an ONNX file says about the run that it was made from."""

from __future__ import annotations

import json
from dataclasses import asdict

from examples.chestxray14.data.study import synthetic_note
from examples.chestxray14.files.checksums import file_digest
from examples.chestxray14.prediction.predictor import Predictor
from examples.chestxray14.runs.folder import versions

NOT_A_DEVICE = "Not a medical device: for research, never for the care of a patient"


def describe_run(predictor: Predictor) -> dict[str, str]:
    """Metadata of a run's ONNX file. Values are text, or JSON where they are lists, numbers or objects.

    `thresholds` has null for a class without one, as all have where each image has one class; `temperatures` has 1
    where none was fitted.
    """
    recipe, rules, transform = predictor.recipe, predictor.rules, predictor.transform
    texts = {
        "task": rules.task,
        "interpolation": transform.interpolation,
        "resampling": predictor.decoding.resampling,
        "recipe": recipe.name,
        "recipe_sha256": recipe.checksum,
        "weights_sha256": file_digest(predictor.folder.weights),
        "precision_of_training": recipe.training.precision,
        "chosen_on": rules.chosen_on,
        "note": f"{synthetic_note(predictor.synthetic)}{NOT_A_DEVICE}",
    }
    values = {
        "classes": rules.classes,
        "thresholds": rules.thresholds,
        "few_patients": rules.few_patients,
        "calibrated": rules.calibrated,
        "temperatures": rules.scale,
        "store": asdict(predictor.decoding),
        "store_size": predictor.decoding.size,
        "channels": 3 if predictor.decoding.colour else 1,
        "input_size": transform.resized,
        "image_size": transform.size,
        "mean": transform.mean,
        "std": transform.std,
        "synthetic": predictor.synthetic,
        "trained_with": predictor.folder.read_info()["versions"],
        "exported_with": versions(),
    }
    return texts | {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}
