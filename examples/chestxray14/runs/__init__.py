"""A run's folder: recipe, split, logs, checkpoint and weights, with their checksums."""
