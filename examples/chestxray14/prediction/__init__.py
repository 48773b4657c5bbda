"""Predictions of new images by a finished run, and its export to ONNX."""

from examples.chestxray14.prediction.export import export_run as export_run
from examples.chestxray14.prediction.predictor import load_predictor as load_predictor
