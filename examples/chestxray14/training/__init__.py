"""Train a recipe: networks, pretrained weights, the trainer, its logs, and predictions."""
