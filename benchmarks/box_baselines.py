"""How well do maps score that ignore the image? All of NIH's boxes against the three baselines.

    python -m benchmarks.box_baselines --boxes BBox_List_2017.csv --labels Data_Entry_2017_v2020.csv

A model's maps on NIH's boxes mean something if they beat these. The label file gives the patient of each image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.environment import environment
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.explanation.baselines import BASELINES
from examples.chestxray14.explanation.cases import find_cases
from examples.chestxray14.explanation.localisation import measure_baselines
from examples.chestxray14.explanation.localisation_tables import by_finding, by_method

SIZE, GRID = 224, 7  # as DenseNet121 and the report have them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    args = parser.parse_args()
    cases = find_cases(read_boxes(args.boxes).scaled_to(SIZE), read_data_entry(args.labels))
    results = measure_baselines(cases, SIZE, GRID)
    print(f"{by_method(results).to_markdown()}\n")
    for name in (BASELINES[-1], BASELINES[0]):
        by = by_finding(results[name], ["pointing", "energy", "IoU@0.5"])
        print(f"{name}:\n\n{by.to_markdown()}\n")
    print(f"{SIZE}×{SIZE} pixels, random maps of {GRID}×{GRID}. {environment('numpy', 'torch')}")


if __name__ == "__main__":
    main()
