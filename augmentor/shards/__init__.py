"""Shards: synthetic samples on disk, and the manifest that says what they are."""

from ._manifest import Manifest, ShardEntry, read_manifest
from .hdf5 import ShardArrays, encode_shard, open_shard, verify_shard

__all__ = ["Manifest", "ShardArrays", "ShardEntry", "encode_shard", "open_shard", "read_manifest", "verify_shard"]
