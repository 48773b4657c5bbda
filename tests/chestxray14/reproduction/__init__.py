"""The report of all cells."""
