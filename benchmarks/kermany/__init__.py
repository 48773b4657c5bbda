"""Does an attention block help? EfficientNet-Lite0 on Kermany's X-rays: `python -m benchmarks.kermany`."""
