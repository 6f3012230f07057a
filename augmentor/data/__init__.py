"""Data sets and loaders: sources, arrays, mixing real and synthetic samples.

May import: `shards`, `autoencoders`, `policies`, `quality`, `latents`, `_internal`, `exceptions`.
"""

from .arrays import ArrayDataset
from .block_sampler import BlockSampler
from .hdf5_dataset import HDF5Dataset
from .indexed import Indexed
from .loader import AugmentedLoader
from .mixed import MixedDataset
from .mixing import Added, Mixing
from .sources import load_source

__all__ = [
    "Added",
    "ArrayDataset",
    "AugmentedLoader",
    "BlockSampler",
    "HDF5Dataset",
    "Indexed",
    "MixedDataset",
    "Mixing",
    "load_source",
]
