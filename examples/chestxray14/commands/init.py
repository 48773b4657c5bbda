"""Write a study file for a table of your own.

TABLE is a CSV file with a row per image: its file, its patient, and its labels, in columns of 0 and 1 or as text; or
NIH's Data_Entry. The command prints how it reads each column. OUT.yaml is a small study with comments to start from; an
existing file is never overwritten.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from awb import AWBError
from awb.study import LabelTable
from examples.chestxray14.commands.column_arguments import add_column_arguments, columns_of
from examples.chestxray14.data.columns import Columns
from examples.chestxray14.data.labels import ages_in_years, has_no_patients, read_header, read_table, subgroup_of
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.recipes.stage_settings import Task
from examples.chestxray14.recipes.starter import DEFAULT_BACKBONE, starter_text
from examples.chestxray14.recipes.strict_yaml import parse_yaml
from examples.chestxray14.recipes.study_file import StudyFile

_NIH_COLUMN = "Image Index"
_FEW = 0.05  # of the rows
_USUAL_SIZE = 224  # of `prepare`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE", help="CSV file of labels")
    parser.add_argument("out", type=Path, metavar="OUT.yaml", help="study file to write")
    parser.add_argument(
        "--backbone", default=DEFAULT_BACKBONE, metavar="NAME",
        help="timm:NAME, torchvision:NAME, or a short name of the study's (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--colour", action="store_true", help="the images are in colour, and prepare is to keep it")
    add_column_arguments(parser)


def run(args: argparse.Namespace) -> int:
    _require_new(args.out)
    header, columns = read_header(args.table), columns_of(args)
    of_nih = _NIH_COLUMN in header and columns == Columns()
    table = read_data_entry(args.table) if of_nih else read_table(args.table, columns)
    table = ages_in_years(table)  # a wrong age is an error now, not after `prepare`
    task = task_of(table)
    said = _describe(args.table, table, task)
    said += ["columns: those of NIH's Data_Entry"] if of_nih else _describe_columns(header, columns, table)
    study = _write(args.out, said, starter_text(args.backbone, task, len(table)))
    labels = "" if of_nih else f" --table {shlex.quote(str(args.table))}{columns.as_options()}"
    folder = f"the folder of images{f' and of {args.table.name}' if of_nih else ''}"
    lines = [*said, "", f"wrote {args.out}: cells {', '.join(study.contents)}", "", f"next, with IMAGES {folder}:"]
    size = max(study.recipe(name).data.image_size for name in study.contents)
    print("\n".join([*lines, *_next(args.out, labels, size, args.colour)]))
    return 0


def task_of(table: LabelTable) -> Task:
    """`classes` if every image has exactly one of several labels, or is wholly unknown; else `findings`."""
    unknown = np.isnan(table.labels)
    partly = unknown.any(axis=1) & ~unknown.all(axis=1)  # of findings one may be known and another not
    return "classes" if table.exclusive and not partly.any() and not unknown.all() else "findings"


def _require_new(out: Path) -> None:
    if out.suffix not in (".yaml", ".yml"):
        raise AWBError(f"{out}: a study file is called something.yaml")
    if out.exists():
        raise AWBError(f"{out} already exists and is not overwritten; give another name, or remove it")
    if not out.parent.is_dir():
        raise AWBError(f"no folder {out.parent}")


def _describe(path: Path, table: LabelTable, task: Task) -> list[str]:
    """Lines on the images, patients and labels."""
    counts = np.nansum(table.labels, axis=0)
    labels = [f"{_plain(name)} ({int(count):,})" for name, count in zip(table.classes, counts, strict=True)]
    patients = f"{len(np.unique(table.groups)):,} patients"  # type: ignore[arg-type]
    what = "classes, exactly one per image" if task == "classes" else "findings (images that have them)"
    lines = [
        f"{_plain(path.name)}: {len(table):,} images of {patients}",
        f"{what}: {', '.join(labels)}",
    ]
    if unknown := int(np.isnan(table.labels).any(axis=1).sum()):
        lines.append(f"images with unknown labels: {unknown:,}")
    lines += _nearly_classes(table) if task == "findings" else []
    if has_no_patients(table):
        lines.append("each image is taken for a patient of its own: if some share a patient, intervals are too narrow")
    return lines


def _nearly_classes(table: LabelTable) -> list[str]:
    """Line that says why labels are no classes, where few rows decide it."""
    others = table.images[np.nansum(table.labels, axis=1) != 1].tolist()
    if len(table.classes) < 2 or not 0 < len(others) <= _FEW * len(table):
        return []
    return [
        f"{len(others):,} of {len(table):,} images have several labels or none, {_plain(others[0])} first: else classes"
    ]


def _describe_columns(header: Sequence[str], columns: Columns, table: LabelTable) -> list[str]:
    """What each column was taken for, one line per role."""
    labels = [columns.text] if columns.text else list(table.classes)
    used = {columns.image, columns.patient, *labels}
    subgroups = {name: group for name in header if name not in used and (group := subgroup_of(name))}
    left = [name for name in header if name not in used and name not in subgroups]
    lines = [
        f"image: column {_plain(columns.image)}; patient: column {_plain(columns.patient)}",
        f"labels: {f'text in column {_plain(columns.text)}' if columns.text else 'columns of 0 and 1'}",
        f"subgroups: {', '.join(f'{group} (column {_plain(name)})' for name, group in subgroups.items()) or 'none'}",
    ]
    return lines + ([f"not used: {', '.join(map(_plain, left))}"] if left else [])


def _write(out: Path, said: Sequence[str], starter: str) -> StudyFile:
    """Write the study, which is read as a check before."""
    text = "".join(f"# {line}\n" for line in said) + f"#\n{starter}"
    study = StudyFile.parse(parse_yaml(text, str(out)), out)
    write_atomically(out, text.encode())
    return study


def _next(out: Path, labels: str, size: int, colour: bool) -> list[str]:
    """The commands to go on with."""
    command, study = "python -m examples.chestxray14", shlex.quote(str(out))
    data = f"--data IMAGES --store store{labels}"
    sized = ("" if size == _USUAL_SIZE else f" --size {size}") + (" --colour" if colour else "")
    return [
        f"{command} prepare IMAGES store{sized}{labels}",
        f"{command} train {study}:tiny runs/tiny {data}",
        f"{command} evaluate runs/tiny {data}",
        f"{command} predict runs/tiny predictions.csv IMAGES",
        f"{command} recipes {study}",
        f"{command} reproduce out {data} --cells {study}",
    ]


def _plain(name: str) -> str:
    """A name that can stand in a line and in a YAML comment."""
    return name if name.isprintable() else ascii(name)
