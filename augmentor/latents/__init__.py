"""Latents: statistics, standardisation, the reference set and its neighbours, encoding, its cache, label spreading.

May import `_internal` and what is below it.
"""

from .batch import (
    IGNORED,
    Latents,
    Posterior,
    class_index,
    either,
    is_class,
    label_keys,
    lerp,
    per_sample,
    slerp,
    soft_labels,
)
from .cache import LatentCache
from .classifier import LatentClassifier
from .encoding import encode_all
from .label_spreading import spread_labels
from .neighbours import SAME
from .reference import Partners, ReferenceSet
from .statistics import LatentStats

__all__ = [
    "IGNORED",
    "SAME",
    "LatentCache",
    "LatentClassifier",
    "ReferenceSet",
    "LatentStats",
    "Latents",
    "Partners",
    "Posterior",
    "class_index",
    "either",
    "encode_all",
    "is_class",
    "label_keys",
    "lerp",
    "per_sample",
    "slerp",
    "soft_labels",
    "spread_labels",
]
