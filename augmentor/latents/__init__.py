"""Latents: statistics, standardisation, reference set, neighbours, encoding, cache and pseudo-labels.

This package may import `_internal` and the layers below it.
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
from .neighbours import SAME
from .pseudo_labels import PseudoLabeller, PseudoLabels, spread_labels
from .reference import Partners, ReferenceSet
from .statistics import LatentStats

__all__ = [
    "IGNORED",
    "SAME",
    "LatentCache",
    "LatentClassifier",
    "PseudoLabeller",
    "PseudoLabels",
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
