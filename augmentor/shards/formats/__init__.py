"""Shard formats. A new format is a new file and an import line below."""

from ._base import ORIGINAL_KEPT, ShardArrays, ShardFormat, register_format
from .hdf5 import HDF5 as HDF5
from .webdataset import WebDataset as WebDataset

__all__ = [
    "ORIGINAL_KEPT",
    "ShardArrays",
    "ShardFormat",
    "register_format",
]
