"""Notes on a recipe: what a reader of it may take for something else."""

from __future__ import annotations

from examples.chestxray14.recipes.preprocessing import overridden_preprocessing
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.words import attention_in_words


def notes_on(recipe: Recipe) -> list[str]:
    """Sentences on what a recipe overrides of its weights' preprocessing, and on kinds that are timm's."""
    return [note for note in (overridden_preprocessing(recipe), _former_kinds(recipe)) if note]


def _former_kinds(recipe: Recipe) -> str:
    """Sentence on names that are timm's layers here and the papers' kinds elsewhere; empty if there are none."""
    model = recipe.model
    if model.named_attention == model.attention:
        return ""
    return (
        f"the blocks are timm's layers, {attention_in_words(model)}, as these names have meant in recipes: write the "
        "names so, or model.kinds: papers for the kinds by their papers"
    )
