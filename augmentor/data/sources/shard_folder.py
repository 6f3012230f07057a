"""A folder of shards that `generate_shards` made."""

from __future__ import annotations

from ...shards import ShardDataset, holds_shards
from ._base import Source, register_source


@register_source
class ShardFolder(Source):
    """Synthetic images, or latents of a pretrained autoencoder; an unfinished folder is refused."""

    forms = ("a shard folder",)

    def names(self, text: str) -> bool:
        return holds_shards(text)

    def load(self, text: str, *, split: str, size: int | None) -> ShardDataset:
        return ShardDataset(text)
