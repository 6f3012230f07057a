"""Data sets and loaders with synthetic samples in them."""

from .arrays import ArrayDataset
from .block_sampler import BlockSampler
from .cache import LatentCache
from .hdf5_dataset import HDF5Dataset
from .indexed import Indexed
from .loader import AugmentedLoader
from .mixed import MixedDataset
from .shard_dataset import ShardDataset
from .sources import load_source

__all__ = [
    "ArrayDataset",
    "AugmentedLoader",
    "BlockSampler",
    "HDF5Dataset",
    "Indexed",
    "LatentCache",
    "MixedDataset",
    "ShardDataset",
    "load_source",
]
