"""Shard formats. A new one is a new file here and one import line below."""

from ._base import FORMATS, ORIGINAL_KEPT, STORES, ShardArrays, ShardFormat, compressions, register_format
from .hdf5 import HDF5 as HDF5
from .webdataset import WebDataset as WebDataset

__all__ = [
    "FORMATS",
    "ORIGINAL_KEPT",
    "STORES",
    "ShardArrays",
    "ShardFormat",
    "compressions",
    "register_format",
]
