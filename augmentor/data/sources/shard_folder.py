"""A folder of shards made by `generate_shards`."""

from __future__ import annotations

from ...shards import ShardDataset, holds_shards
from ._base import Source, register_source


@register_source
class ShardFolder(Source):
    """Source of synthetic images, or latents of a pretrained autoencoder. An unfinished folder is rejected."""

    forms = ("a shard folder",)

    def names(self, text: str) -> bool:
        return holds_shards(text)

    def load(self, text: str, *, split: str, size: int | None) -> ShardDataset:
        return ShardDataset(text)
