"""What NIH's boxes give away to maps that have seen no image: the baselines on all 984 boxes. No images are needed.

    python -m benchmarks.localisation_baselines BBox_List_2017.csv [--labels Data_Entry_2017_v2020.csv] [--size 224]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.environment import environment
from examples.chestxray14.baselines import box_prior_maps, centre_maps, random_maps
from examples.chestxray14.boxes import read_boxes
from examples.chestxray14.explain_study import BASELINES
from examples.chestxray14.labels import packaged_data_entry, read_data_entry
from examples.chestxray14.localisation import find_cases, localise
from examples.chestxray14.localisation_table import by_finding, by_method


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boxes", type=Path, help="NIH's BBox_List_2017.csv")
    parser.add_argument("--labels", type=Path, help="NIH's Data_Entry_2017*.csv (default: torchxrayvision's copy)")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--grid", type=int, default=7, help="side of the random map's grid (default: %(default)s)")
    args = parser.parse_args()
    table = read_data_entry(args.labels or packaged_data_entry())
    cases = find_cases(read_boxes(args.boxes).scaled_to(args.size), table)
    made = (centre_maps(cases, args.size), random_maps(cases, args.size, args.grid), box_prior_maps(cases, args.size))
    results = {name: localise(cases, maps, args.size) for name, maps in zip(BASELINES, made, strict=True)}
    boxes, images = sum(len(case.boxes) for case in cases), len({case.image for case in cases})
    print(f"{boxes:,} boxes on {images:,} images, measured at {args.size}×{args.size} pixels\n")
    print(f"{by_method(results).to_markdown()}\n")
    for name in BASELINES[::2]:
        print(f"{name}\n\n{by_finding(results[name], ('pointing', 'energy')).to_markdown()}\n")
    print(environment("numpy", "torch"))


if __name__ == "__main__":
    main()
