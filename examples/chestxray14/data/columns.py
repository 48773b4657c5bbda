"""Columns of a table of your own: which one holds what."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from awb import AWBError
from awb.errors import shortlist
from awb.study.label_cells import Blank, Uncertain

_IMAGE, _PATIENT = "path", "patient"
_USUAL = {  # what other tables call the two columns, letters alone
    _IMAGE: ("path", "image", "imageindex", "imagepath", "imagefile", "imagename", "imageid", "file", "filename",
             "filepath", "img"),
    _PATIENT: ("patient", "patientid", "patientnumber", "subject", "subjectid", "pid"),
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns, and how its labels are written.

    Attributes:
        image: Column of image files, below the folder of images.
        patient: Column of patients; that of images, if each image is a patient of its own.
        labels: Columns of 0 and 1 that are labels, by default each such column; with `text`, the labels themselves.
        text: Column of labels as text, in place of columns of 0 and 1.
        separator: Text between two labels of such a cell; None if each cell is one label.
        blank: Meaning of an empty cell of labels, as in `awb.study.read_labels`.
        uncertain: Meaning of −1 and the like there.
    """

    image: str = _IMAGE
    patient: str = _PATIENT
    labels: tuple[str, ...] = ()
    text: str | None = None
    separator: str | None = "|"
    blank: Blank | None = None
    uncertain: Uncertain = "refuse"

    def require(self, path: object, header: Sequence[str]) -> None:
        """Refuse a table without images or patients, and name the options that choose them.

        Raises:
            AWBError: A column is missing.
        """
        missing = {}
        if self.image not in header:
            missing[f"{self.image!r} (files of images)"] = _way_out("--image-column", _IMAGE, self.image, header)
        if self.patient not in header:
            missing[f"{self.patient!r} (splits and intervals are by patient)"] = (
                f"{_way_out('--patient-column', _PATIENT, self.patient, header)}, or "
                f"{shlex.join(['--patient-column', self._image_in(header)])} if each image is a patient of its own"
            )
        if missing:
            raise AWBError(
                f"{path} has no column {' and '.join(missing)}; give {' and '.join(missing.values())}. "
                f"The file has {shortlist(header, 20) or 'no columns'}"
            )

    def as_options(self) -> str:
        """Options of the commands that say the same, with a space before each."""
        words = []
        for option, value, default in (
            ("--image-column", self.image, _IMAGE),
            ("--patient-column", self.patient, _PATIENT),
            ("--label-column", self.text, None),
            ("--label-separator", self.separator or "", "|"),
            ("--blank", self.blank, None),
            ("--uncertain", self.uncertain, "refuse"),
        ):
            if value != default:
                words += [option, str(value)]
        words += ["--labels", *self.labels] if self.labels else []
        return "".join(f" {shlex.quote(word)}" for word in words)

    def _image_in(self, header: Sequence[str]) -> str:
        found = [self.image] if self.image in header else _lookalikes(_IMAGE, self.image, header)
        return found[0] if len(found) == 1 else "COLUMN-OF-IMAGES"


def _way_out(option: str, role: str, name: str, header: Sequence[str]) -> str:
    """The option to type, with the column's name if only one can be meant."""
    found = _lookalikes(role, name, header)
    if len(found) == 1:
        return shlex.join([option, found[0]])
    return f"{option} {f'one of {shortlist(found)}' if found else 'NAME'}"


def _lookalikes(role: str, name: str, header: Sequence[str]) -> list[str]:
    """Columns that may be meant, by the usual names of their role or a similar spelling."""
    usual = [column for column in header if "".join(filter(str.isalpha, column.lower())) in _USUAL[role]]
    return usual or difflib.get_close_matches(name, header, n=3, cutoff=0.8)
