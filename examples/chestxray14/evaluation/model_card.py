"""Model card (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993) beside the weights of a run."""

from __future__ import annotations

from collections.abc import Mapping

from awb import Table
from awb.markup import in_fence, in_markdown
from examples.chestxray14.data.labels import SUBGROUPS
from examples.chestxray14.data.origin import Origin
from examples.chestxray14.data.splits import used_sets
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.headline import NOUNS
from examples.chestxray14.evaluation.leak import find_leak
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.recipes.notes import notes_on
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.stage_settings import Task
from examples.chestxray14.recipes.words import attention_in_words, placement_in_words
from examples.chestxray14.runs.folder import RunFolder

_DATA: Mapping[Origin, str] = {
    "phantoms": "**Synthetic phantoms**: drawn by a program, of no patient. The model has learnt to see signs that a\n"
    "program paints. No figure here has a medical meaning.",
    "NIH": "Chest X-rays of one hospital, the NIH Clinical Center, 1992 to 2015 (Wang et al., CVPR 2017). Patients\n"
    "there are sicker than elsewhere, and many have several images.",
    "own": "A table of images and labels, brought by the person who trained this model.",
}
_ONE_OF: Mapping[Task, str] = {"findings": "", "classes": ", of which each image has exactly one"}
LABEL_NOISE: Mapping[Origin, str] = {
    "phantoms": "There is none, since the program knows what it drew.",
    "NIH": "The labels were mined from radiologists' reports by text rules, and are wrong or missing for a share of\n"
    "the images (its authors expect more than 90 % to be right; no radiologist has read them all). An absent label\n"
    "does not mean that a finding is absent. Several findings overlap by definition (Infiltration, Consolidation,\n"
    "Pneumonia). Figures on such a test set measure agreement with the labels, not with the patients' state.",
    "own": "Not known to this program. Results should be shown together with how the labels were made, and how often\n"
    "they are wrong.",
}


def write_model_card(folder: RunFolder, recipe: Recipe, study: Study, figures: Table | None = None) -> None:
    """Write the model card: `train` without results, `evaluate` again with them."""
    write_atomically(folder.card, model_card(folder, recipe, study, figures).encode())


def model_card(folder: RunFolder, recipe: Recipe, study: Study, figures: Table | None = None) -> str:
    """The model card as Markdown.

    Args:
        folder: Folder of the run.
        recipe: Recipe of the run.
        study: Labels, images and split that the run was trained on.
        figures: Table of test results; None before the evaluation.
    """
    info, model = folder.read_info(), recipe.model
    blocks = "no attention blocks" if model.attention is None else in_markdown(
        f"blocks {attention_in_words(model)}, placement {placement_in_words(model)}, initialised as {model.init}"
    )  # fmt: skip
    subgroups = [name for name in SUBGROUPS if name in study.table.columns]
    used = used_sets(info["images"], recipe.stages)
    images = in_markdown(", ".join(f"{name} {info['images'][name]:,}" for name in used))
    overlap = in_markdown("; ".join(" with ".join(pair) for pair in recipe.data.split.allow_overlap))
    leak = in_markdown(find_leak(recipe, study.split, study.test).note())
    sections = {
        f"Model card: {in_markdown(recipe.name)}": f"{model.backbone}, {blocks}; {len(study.table.classes)} "
        f"{NOUNS[recipe.task][1]}{_ONE_OF[recipe.task]}.",
        "Not a medical device": "It is not cleared, validated or meant for diagnosis, triage or any decision about a "
        "patient.",
        "Intended use": "Research on training, attention blocks and evaluation. Not: clinical use, images other than "
        "frontal chest X-rays, other hospitals without an evaluation there.",
        "Data": _DATA[study.origin],
        "Split": f"`{study.split.name}`, sha256 `{study.split.checksum}`. Images: {images}."
        + (f"\n\n**Sets share patients, which the recipe allows: {overlap}.**" if overlap else "")
        + (f"\n\n**{leak}**" if leak else ""),
        "Training": f"`recipe.yaml`, sha256 `{recipe.checksum}`; schedule sha256 `{info['schedule']}`.\n\n"
        f"{in_fence(str(recipe.schedule()))}\n\n"
        + in_markdown(", ".join(f"{name} {version}" for name, version in info["versions"].items()))
        + "".join(f"\n\nNote: {in_markdown(note)}." for note in notes_on(recipe)),
        "Label noise": LABEL_NOISE[study.origin],
        "Figures": f"{in_markdown(study.headline(recipe.task))}.\n\n"
        + ("Not evaluated yet: run `evaluate`." if figures is None else figures.to_markdown()),
        "Subgroups": (
            f"`evaluate` gives results by {', '.join(subgroups)}, in `evaluation/evaluation.md`. A difference may come "
            "from another mix of cases as well as from the model"
            + (": AP views are taken at the bedside, of sicker patients." if "view" in subgroups else ".")
            if subgroups
            else "The table names none; differences between groups of patients are not known."
        ),
    }
    (title, first), *others = sections.items()
    return f"# {title}\n\n{first}\n" + "".join(f"\n## {name}\n\n{text}\n" for name, text in others)
