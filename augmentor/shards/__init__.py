"""Shards: synthetic samples on disk; the plan, writing, reading, verification, and the engines that run the plan.

May import: `autoencoders`, `policies`, `quality`, `latents`, `_internal`, `exceptions`.
"""

from .dataset import ShardDataset
from .formats import ShardArrays, encode_shard, encode_tar, open_shard, verify_shard
from .generate import generate_shards
from .journal import holds_shards, read_partial
from .manifest import Manifest, ShardEntry, read_manifest

__all__ = [
    "Manifest",
    "ShardArrays",
    "ShardDataset",
    "ShardEntry",
    "encode_shard",
    "encode_tar",
    "generate_shards",
    "holds_shards",
    "open_shard",
    "read_manifest",
    "read_partial",
    "verify_shard",
]
