"""`LatentCache`: the raw latents of a data set, encoded once, in memory or on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as dump_tensors

from .._files import write_bytes
from .._weights import fingerprint
from ..autoencoders import Autoencoder
from ..autoencoders import Posterior as RawPosterior
from ..exceptions import CacheError
from ..items import batches, dataset_fingerprint, num_classes_of

_KEY = "augmentor"


class LatentCache:
    """What the encoder says of every image: raw mean (N, *L), spread (N, *L) or None, labels or None.

    The key is the autoencoder's and the data set's fingerprint. A file with another key is refused with a
    `CacheError`; `rebuild=True` replaces it.

    path: a `.safetensors` file to keep the latents in, memory-mapped when read; None keeps them in memory.

    >>> from augmentor.data.sources import load_source
    >>> from augmentor.pretrained import load_autoencoder
    >>> cache = LatentCache(load_source("digits"), load_autoencoder("digits"))
    >>> cache[[0, 5]].mean.shape
    torch.Size([2, 16])
    """

    def __init__(
        self,
        dataset: Any,
        autoencoder: Autoencoder,
        path: str | Path | None = None,
        *,
        batch_size: int = 256,
        rebuild: bool = False,
    ):
        self.key = {
            "format": 1,
            "autoencoder": fingerprint(autoencoder.state_dict()),
            "dataset": dataset_fingerprint(dataset),
        }
        if path is not None and Path(path).exists() and not rebuild:
            tensors = self._load(Path(path), len(dataset))
        else:
            tensors = _encode_all(dataset, autoencoder, batch_size)
            if path is not None:
                write_bytes(path, dump_tensors(tensors, {_KEY: json.dumps(self.key, sort_keys=True)}))
        self.mean = tensors["mean"]
        self.std = tensors.get("std")
        self.labels = tensors.get("labels")
        self.num_classes = num_classes_of(dataset, self.labels)

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, indices: Sequence[int] | torch.Tensor) -> RawPosterior:
        rows = torch.as_tensor(indices)
        return RawPosterior(self.mean[rows], None if self.std is None else self.std[rows])

    def _load(self, path: Path, count: int) -> dict[str, torch.Tensor]:
        try:
            with safe_open(path, "pt") as file:
                key = json.loads((file.metadata() or {})[_KEY])
                if key != self.key:
                    changed = [name for name in self.key if key.get(name) != self.key[name]]
                    raise CacheError(
                        f"{path} holds latents of another {' and '.join(changed)}; "
                        "name another file, or replace it with rebuild=True"
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                sizes = {name: len(tensor) for name, tensor in tensors.items()}
                if "mean" not in sizes or set(sizes.values()) != {count}:
                    raise ValueError(f"it has rows {sizes}; expected {count} of each, and 'mean' among them")
                return tensors
        except (SafetensorError, KeyError, ValueError, AttributeError, OSError) as error:
            if isinstance(error, CacheError):
                raise
            raise CacheError(f"{path} is not a latent cache ({error}); name another file") from error


def _encode_all(dataset: Any, autoencoder: Autoencoder, batch_size: int) -> dict[str, torch.Tensor]:
    means, stds, found = [], [], []
    with torch.no_grad():
        for images, labels in batches(dataset, batch_size):
            posterior = autoencoder.encode(images.to(autoencoder.device))
            means.append(posterior.mean.cpu())
            stds += [] if posterior.std is None else [posterior.std.cpu()]
            found += [] if labels is None else [labels]
    tensors = {"mean": torch.cat(means)}
    if stds:
        tensors["std"] = torch.cat(stds)
    if found:
        tensors["labels"] = torch.cat(found)
    return tensors
