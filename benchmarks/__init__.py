"""One question, one script, one table; each is run as `python -m benchmarks.<name>` from the root of a checkout."""
