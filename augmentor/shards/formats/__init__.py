"""Shard formats. A new one is a new file here and one import line below."""

from .hdf5 import ShardArrays, encode_shard, open_shard, verify_shard
from .webdataset import encode_tar

__all__ = ["ShardArrays", "encode_shard", "encode_tar", "open_shard", "verify_shard"]
