"""Does an attention block help? Kermany's paediatric chest X-rays, EfficientNet-Lite0: `python -m benchmarks.kermany`."""
