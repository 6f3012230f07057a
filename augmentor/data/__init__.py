"""Data sets and loaders with synthetic samples in them."""

from .arrays import ArrayDataset
from .cache import LatentCache
from .loader import AugmentedLoader
from .mixed import MixedDataset
from .shard_dataset import ShardDataset
from .sources import load_source

__all__ = ["ArrayDataset", "AugmentedLoader", "LatentCache", "MixedDataset", "ShardDataset", "load_source"]
