"""Latents: statistics, standardisation, the reference set and its neighbours, encoding, its cache, label spreading.

May import `_internal` and what is below it.
"""

from .batch import Latents, Posterior, class_index, lerp, per_sample, slerp, soft_labels
from .cache import LatentCache
from .classifier import LatentClassifier
from .encoding import encode_all
from .label_spreading import spread_labels
from .neighbours import SAME
from .reference import ReferenceSet
from .statistics import LatentStats

__all__ = [
    "SAME",
    "LatentCache",
    "LatentClassifier",
    "ReferenceSet",
    "LatentStats",
    "Latents",
    "Posterior",
    "class_index",
    "encode_all",
    "lerp",
    "per_sample",
    "slerp",
    "soft_labels",
    "spread_labels",
]
