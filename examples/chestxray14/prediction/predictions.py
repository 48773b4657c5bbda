"""Predictions of image files, and their CSV file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from awb import AWBError
from awb.study.files import write_csv
from examples.chestxray14.evaluation.decisions import Decisions
from examples.chestxray14.evaluation.evaluated_run import Floats
from examples.chestxray14.files.output_file import require_output_file
from examples.chestxray14.prediction.image_files import Skipped

IMAGE, PREDICTED = "image", "predicted class"
_SUFFIXES = (".csv", ".csv.gz")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of n images.

    Attributes:
        images: Names of the images: their paths, unless another root was given.
        files: Their files.
        rules: The run's thresholds and temperatures.
        probabilities: Probability of each class, float64 (n, C); calibrated if the run was.
        skipped: Files that could not be read, with the reasons.
    """

    images: tuple[str, ...]
    files: tuple[Path, ...]
    rules: Decisions
    probabilities: Floats
    skipped: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.rules.classes

    @property
    def decisions(self) -> npt.NDArray[np.float64] | npt.NDArray[np.str_]:
        """Decision on each finding, float64 (n, C): 1, 0, or NaN without a threshold; or the predicted class, (n,)."""
        if self.rules.task == "classes":
            return np.array(self.classes, dtype=np.str_)[self.probabilities.argmax(axis=1)]
        thresholds = np.array([np.nan if t is None else t for t in self.rules.thresholds])
        return np.where(np.isnan(thresholds), np.nan, self.probabilities >= thresholds)

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file (or CSV.gz) in one step, and a second one that names the files skipped, if any.

        Columns: `image`; the probability of each class under its name, which `awb.study.read_predictions` reads back
        to the bit; then `NAME decision` of each finding (1, 0, or empty without a threshold) or `predicted class`. The
        second file is `skipped_file(path)`; an old one is removed.

        Raises:
            AWBError: No image was predicted, or a file cannot be written.
        """
        path = require_csv(path, replace=True)
        if not self.images:
            raise AWBError("no image was predicted, so nothing is written")
        header = [IMAGE, *self.classes, *self._decision_columns()]
        rows = zip(self.images, self.probabilities.tolist(), self._decision_cells(), strict=True)
        beside = skipped_file(path)
        if self.skipped:
            write_csv(beside, ("path", "reason"), [_cells(one) for one in self.skipped])
        else:
            beside.unlink(missing_ok=True)
        write_csv(path, header, ([name, *map(repr, probs), *decided] for name, probs, decided in rows))

    def _decision_columns(self) -> list[str]:
        if self.rules.task == "classes":
            return [PREDICTED]
        return [f"{name} decision" for name in self.classes] if self.rules.decides else []

    def _decision_cells(self) -> Iterator[list[str]]:
        for row in self.decisions.tolist():
            if self.rules.task == "classes":
                yield [row]
            else:
                yield ["" if value != value else str(int(value)) for value in row] if self.rules.decides else []


def require_csv(path: str | Path, *, replace: bool) -> Path:
    """Refuse a path that is no CSV file's, since it may be an image that was meant to be read, or cannot be written.

    Raises:
        AWBError: Another suffix, or as `require_output_file`.
    """
    path = Path(path)
    if not path.name.lower().endswith(_SUFFIXES):
        raise AWBError(f"{path}: expected a name that ends in {' or '.join(_SUFFIXES)}, for the predictions")
    require_output_file(path, replace=replace)
    return path


def skipped_file(path: Path) -> Path:
    """File beside the predictions that names what was skipped: `out.skipped.csv` of `out.csv`."""
    return path.with_name(f"{path.name[: path.name.lower().rindex('.csv')]}.skipped.csv")


def _cells(skipped: Skipped) -> list[str]:
    """Path and reason as one line of text each, whatever bytes the file's name has."""
    texts = (os.fsencode(skipped.path).decode("utf-8", "backslashreplace"), skipped.reason)
    return [" ".join(text.replace("\0", "").split()) for text in texts]
