"""Benchmarks: one question, one script, one table each. Run `python -m benchmarks.<name>` from the repository root."""
