"""Pictures of where a run looks on images that it has predicted: one per positive finding, or predicted class."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from awb import AWBError
from examples.chestxray14.data.decode import Decoding, decode
from examples.chestxray14.explanation.cases import Case
from examples.chestxray14.explanation.layers import LAST
from examples.chestxray14.explanation.maps import Inputs, MapMaker, map_makers
from examples.chestxray14.explanation.pictures import captions, overlays, save_picture, sheet
from examples.chestxray14.files.names import file_name
from examples.chestxray14.prediction.predictions import Predictions
from examples.chestxray14.prediction.predictor import Predictor

_GRAD_CAM = "Grad-CAM"
_BATCH = 16
_LONGEST = 80  # characters of an image's name in a picture's


class DecodedFiles:
    """Image files by name, each decoded when it is asked for."""

    def __init__(self, files: Mapping[str, Path], decoding: Decoding) -> None:
        self._files, self._decoding = files, decoding

    def __getitem__(self, name: str) -> npt.NDArray[np.uint8]:
        """Image, uint8 (size, size), in colour (size, size, 3)."""
        return np.array(decode(self._files[name], self._decoding.size, colour=self._decoding.colour))


def prepare_maps(predictor: Predictor, where: int | str = LAST) -> list[MapMaker]:
    """Grad-CAM of a run, and the attention maps of its blocks if they have some; on the CPU.

    Args:
        predictor: The run.
        where: Layer of Grad-CAM, as in `find_layer`.

    Raises:
        AWBError: The run has no thresholds, or its network has no layer for Grad-CAM.
    """
    if not predictor.rules.decides:
        raise AWBError(
            "maps are of positive findings, and the run has no thresholds that tell them: run "
            f"`evaluate {predictor.folder.path} …` first"
        )
    model = copy.deepcopy(predictor.model).cpu()
    makers = map_makers({_GRAD_CAM: model}, _inputs(predictor, {}), where, attention=True)
    return [replace(one, name=one.name.removeprefix(f"{_GRAD_CAM}, ")) for one in makers]


def write_maps(folder: Path, predictor: Predictor, makers: Sequence[MapMaker], predictions: Predictions) -> int:
    """Draw the image and its maps side by side, for each positive finding or the predicted class of each image.

    Files are named `ROW NAME, CLASS.png`, with the image's row in the table of predictions, from 1.

    Returns:
        The number of pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs = _inputs(predictor, dict(zip(predictions.images, predictions.files, strict=True)))
    columns = captions(makers)
    if predictor.synthetic:
        columns[0] = "network of phantoms"
    shown = list(_positives(predictions))
    for start in range(0, len(shown), _BATCH):
        batch = shown[start : start + _BATCH]
        cases = [Case(predictions.images[row], predictions.classes[column], "", ()) for row, column in batch]
        for (row, column), case, pictures in zip(batch, cases, overlays(makers, inputs, cases), strict=True):
            name = file_name(f"{row + 1} {Path(case.image).stem[:_LONGEST]}, {case.finding}")
            caption = _caption(predictions, row, column)
            save_picture(sheet([(caption, pictures)], columns), folder / f"{name}.png")
    return len(shown)


def _positives(predictions: Predictions) -> Iterator[tuple[int, int]]:
    """Row and column of each decision to draw."""
    if predictions.rules.task == "classes":
        yield from enumerate(predictions.probabilities.argmax(axis=1).tolist())
    else:
        yield from zip(*(at.tolist() for at in np.nonzero(predictions.decisions == 1)), strict=True)


def _caption(predictions: Predictions, row: int, column: int) -> str:
    threshold = predictions.rules.thresholds[column]
    at_least = "" if threshold is None else f" >= {threshold:.3f}"
    return f"{predictions.classes[column]} {predictions.probabilities[row, column]:.3f}{at_least}"


def _inputs(predictor: Predictor, files: Mapping[str, Path]) -> Inputs:
    return Inputs(DecodedFiles(files, predictor.decoding), predictor.transform, predictor.rules.classes)
