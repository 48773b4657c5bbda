"""Write a study file for a table of your own.

TABLE is a CSV with the columns `path` and `patient`, and one column per finding (0, 1 or empty); or NIH's Data_Entry.
The command prints how it reads each column. OUT.yaml is a small study with comments to start from; an existing file is
never overwritten.
"""

from __future__ import annotations

import argparse
import csv
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from awb import AWBError
from awb.errors import shortlist
from awb.study import LabelTable, open_text, require_commas
from examples.chestxray14.data.labels import ages_in_years, read_table, subgroup_of
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.recipes.strict_yaml import parse_yaml
from examples.chestxray14.recipes.study_file import StudyFile

_STARTER = Path(__file__).parents[1] / "recipes" / "starter.yaml"
_NIH_COLUMN = "Image Index"
_IMAGE, _PATIENT = "path", "patient"
_MEANT = {  # what other tables call the two columns, letters alone
    _IMAGE: ("image", "imagepath", "imagefile", "imagename", "imageid", "file", "filename", "filepath", "img"),
    _PATIENT: ("patientid", "patientnumber", "subject", "subjectid", "pid"),
}
_IS = {_IMAGE: "the image's file, below the folder of images", _PATIENT: "whose images are never split across sets"}
_BATCH = "batch_size: 32\n"
_FEWEST_STEPS = 8  # per epoch, if the table has images for as many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE", help="CSV file of labels")
    parser.add_argument("out", type=Path, metavar="OUT.yaml", help="study file to write")


def run(args: argparse.Namespace) -> int:
    _require_new(args.out)
    with open_text(args.table) as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    require_commas(args.table, header)
    table = _read(args.table, header)
    said = _describe(args.table, header, table)
    study = _write(args.out, said, len(table))
    print(
        "\n".join(
            [
                *said,
                "",
                f"wrote {args.out}: cells {', '.join(study.contents)}",
                "",
                *_next(args.table, args.out, header),
            ]
        )
    )
    return 0


def _require_new(out: Path) -> None:
    if out.suffix not in (".yaml", ".yml"):
        raise AWBError(f"{out}: a study file is called something.yaml")
    if out.exists():
        raise AWBError(f"{out} already exists and is not overwritten; give another name, or remove it")
    if not out.parent.is_dir():
        raise AWBError(f"no folder {out.parent}")


def _read(path: Path, header: Sequence[str]) -> LabelTable:
    """The table; its columns are looked at first, so that all that lack are named together."""
    if _NIH_COLUMN in header:
        return read_data_entry(path)
    missing = {name: _lookalike(name, header) for name in (_IMAGE, _PATIENT) if name not in header}
    if missing:
        wanted = " and ".join(f"{name!r} ({_IS[name]})" for name in missing)
        renamed = [f"rename {there!r} to {name!r}" for name, there in missing.items() if there]
        advice = f"; {' and '.join(renamed)}" if renamed else ""
        raise AWBError(f"{path} has no column {wanted}{advice}. The file has {shortlist(header, 20) or 'no columns'}")
    return ages_in_years(read_table(path))  # a wrong age is an error now, not after `prepare`


def _lookalike(name: str, header: Sequence[str]) -> str | None:
    """The column that another table's author may have meant, if there is one."""
    plain = {"".join(filter(str.isalpha, column.lower())): column for column in header}
    return next((plain[other] for other in (name, *_MEANT[name]) if other in plain), None)


def _describe(path: Path, header: Sequence[str], table: LabelTable) -> list[str]:
    """What each column was taken for, one line per role."""
    assert table.groups is not None
    of_nih = _NIH_COLUMN in header
    subgroups = {} if of_nih else {name: group for name in header if (group := subgroup_of(name))}
    used: Mapping[str, str] = {_IMAGE: "image", _PATIENT: "patient"} | dict.fromkeys(table.classes, "finding")
    left = [name for name in header if name not in used and name not in subgroups]
    counts = np.nansum(table.labels, axis=0)
    findings = [f"{_plain(name)} ({int(count):,})" for name, count in zip(table.classes, counts, strict=True)]
    lines = [f"{_plain(path.name)}: {len(table):,} images of {len(np.unique(table.groups)):,} patients"]
    if of_nih:
        return [
            *lines,
            "columns: those of NIH's Data_Entry",
            f"findings (images that have them): {', '.join(findings)}",
        ]
    lines += [
        f"image: column {_IMAGE}; patient: column {_PATIENT}",
        f"findings (images that have them): {', '.join(findings)}",
        f"subgroups: {', '.join(f'{group} (column {_plain(name)})' for name, group in subgroups.items()) or 'none'}",
    ]
    return lines + ([f"not used: {', '.join(map(_plain, left))}"] if left else [])


def _write(out: Path, said: Sequence[str], n_images: int) -> StudyFile:
    """Write the study, which is read as a check before."""
    batch = 32
    while batch > 2 and 0.7 * n_images < _FEWEST_STEPS * batch:  # 70 % are for training
        batch //= 2
    starter = _STARTER.read_text(encoding="utf-8")
    assert _BATCH in starter
    comment = "".join(f"# {line}\n" for line in said)
    text = f"{comment}#\n{starter.replace(_BATCH, _BATCH.replace('32', str(batch)))}"
    study = StudyFile.parse(parse_yaml(text, str(out)), out)
    write_atomically(out, text.encode())
    return study


def _next(table: Path, out: Path, header: Sequence[str]) -> list[str]:
    """The commands to go on with."""
    of_nih, study = _NIH_COLUMN in header, shlex.quote(str(out))
    labels = "" if of_nih else f" --table {shlex.quote(str(table))}"
    command, data = "python -m examples.chestxray14", f"--data IMAGES --store store{labels}"
    return [
        f"next, with IMAGES the folder of images{f' and of {table.name}' if of_nih else ''}:",
        f"{command} prepare IMAGES store{labels}",
        f"{command} train {study}:tiny runs/tiny {data}",
        f"{command} recipes {study}",
        f"{command} reproduce out {data} --cells {study}",
    ]


def _plain(name: str) -> str:
    """A name that can stand in a line and in a YAML comment."""
    return name if name.isprintable() else ascii(name)
