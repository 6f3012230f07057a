"""The same augmentation in the terms of other libraries: imbalanced-learn, albumentations.

May import: every folder but `cli`, `tuning` and `views`.
"""

from .imbalanced_learn import LatentSampler

__all__ = ["LatentSampler"]
