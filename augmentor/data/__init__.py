"""Data sets and loaders: sources of real images, and real and synthetic samples mixed.

This package may import `shards` and the layers below it.
"""

from .arrays import ArrayDataset
from .block_sampler import BlockSampler
from .hdf5_dataset import HDF5Dataset
from .indexed import Indexed
from .loader import AugmentedLoader
from .mixed import MixedDataset
from .mixing import Added, Mixing
from .pseudo_labelled import PseudoLabelled, confident_labels, pseudo_label
from .sources import load_source
from .transformed import Transformed

__all__ = [
    "Added",
    "ArrayDataset",
    "AugmentedLoader",
    "BlockSampler",
    "HDF5Dataset",
    "Indexed",
    "MixedDataset",
    "Mixing",
    "PseudoLabelled",
    "Transformed",
    "confident_labels",
    "load_source",
    "pseudo_label",
]
