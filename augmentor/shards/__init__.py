"""Shards: synthetic samples on disk, and the manifest that says what they are."""

from ._journal import holds_shards, read_partial
from ._manifest import Manifest, ShardEntry, read_manifest
from .hdf5 import ShardArrays, encode_shard, open_shard, verify_shard
from .webdataset import encode_tar

__all__ = [
    "Manifest",
    "ShardArrays",
    "ShardEntry",
    "encode_shard",
    "encode_tar",
    "holds_shards",
    "open_shard",
    "read_manifest",
    "read_partial",
    "verify_shard",
]
