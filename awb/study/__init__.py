"""What an honest multi-label study stands on, whatever the model: it knows nothing of attention blocks.

Labels      LabelTable, read_labels
"""

from awb.study.labels import LabelTable, read_labels

__all__ = ["LabelTable", "read_labels"]
