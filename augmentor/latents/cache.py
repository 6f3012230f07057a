"""`LatentCache`: the raw latents of a data set, encoded once, in memory or on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as dump_tensors

from .._internal.datasets import class_names_of, dataset_fingerprint, is_map_style
from .._internal.files import absolute_path, write_bytes
from .._internal.weights import fingerprint
from ..exceptions import CacheError, DataError
from .batch import Posterior as RawPosterior
from .encoding import Encoder, encode_all

_KEY = "augmentor"


class LatentCache:
    """Cache of the encoder's posterior of every image: raw mean (N, *L), std (N, *L) or None, and labels or None.

    The key is the fingerprint of the autoencoder and of the data set. A file with another key raises `CacheError`;
    `rebuild=True` replaces it.

    `MixedDataset`, `AugmentedLoader` and `generate_shards` accept it as ``cache=`` and then encode no images. Latents
    are those of the unchanged network, in float32.

    dataset: map-style data set of images or `(image, label)`. autoencoder: the autoencoder that encodes the images.
    path: a `.safetensors` file for the latents, memory-mapped (worker processes share it); None keeps them in memory.
    batch_size: number of images per batch of the encoder.

    >>> from augmentor.data import load_source
    >>> from augmentor.autoencoders import load_autoencoder
    >>> cache = LatentCache(load_source("digits"), load_autoencoder("digits"))
    >>> cache[[0, 5]].mean.shape
    torch.Size([2, 16])
    """

    def __init__(
        self,
        dataset: Any,
        autoencoder: Encoder,
        path: str | Path | None = None,
        *,
        batch_size: int = 256,
        rebuild: bool = False,
    ):
        if not is_map_style(dataset):
            raise DataError(
                f"LatentCache takes a map-style data set, got {type(dataset).__name__}, which has no length or no "
                "indices; if it fits into memory, give list(dataset)"
            )
        self.key = {
            "format": 1,
            "autoencoder": _encoder_fingerprint(autoencoder),
            "dataset": dataset_fingerprint(dataset),
        }
        self._path, self._count = None if path is None else absolute_path(path), len(dataset)
        if self._path is None:
            self._keep(_encoded(dataset, autoencoder, batch_size))
        else:
            if rebuild or not self._path.exists():
                tensors = _encoded(dataset, autoencoder, batch_size)
                data = dump_tensors(tensors, {_KEY: json.dumps(self.key, sort_keys=True)})
                write_bytes(self._path, data, shared=True)  # several ranks of a job may write it
            self._keep(self._load(self._path))
        self.num_classes = len(class_names_of(dataset)) or None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> RawPosterior:
        return RawPosterior(self.mean, self.std).take(torch.as_tensor(indices))

    def check(self, autoencoder: Encoder, dataset: Any = None) -> LatentCache:
        """Return the cache if it belongs to this autoencoder and data set (if given), else raise `CacheError`."""
        found = {"autoencoder": _encoder_fingerprint(autoencoder)}
        if dataset is not None:
            found["dataset"] = dataset_fingerprint(dataset)
        if changed := [name for name, value in found.items() if self.key[name] != value]:
            raise CacheError(
                f"the cache holds latents of another {' and '.join(changed)}; create it again: "
                "LatentCache(dataset, augment.autoencoder)"
            )
        return self

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the latents, and the labels if there are any, by name."""
        named = {"mean": self.mean, "std": self.std, "labels": self.labels}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def _keep(self, tensors: dict[str, torch.Tensor]) -> None:
        self.mean = tensors["mean"]
        self.std = tensors.get("std")
        self.labels = tensors.get("labels")

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the tensors of a file, which the receiving process maps again."""
        dropped = () if self._path is None else ("mean", "std", "labels")
        return {name: value for name, value in self.__dict__.items() if name not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._path is not None:
            self._keep(self._load(self._path))

    def _load(self, path: Path) -> dict[str, torch.Tensor]:
        try:
            with safe_open(path, "pt") as file:
                key = json.loads((file.metadata() or {})[_KEY])
                if key != self.key:
                    changed = [name for name in self.key if key.get(name) != self.key[name]]
                    raise CacheError(
                        f"{path} holds latents of another {' and '.join(changed)}; "
                        "choose another file, or remove this one to encode the images again"
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                sizes = {name: len(tensor) for name, tensor in tensors.items()}
                if "mean" not in sizes or set(sizes.values()) != {self._count}:
                    raise ValueError(f"it has rows {sizes}; expected {self._count} of each tensor, including 'mean'")
                return tensors
        except (SafetensorError, KeyError, ValueError, AttributeError, OSError) as error:
            if isinstance(error, CacheError):
                raise
            raise CacheError(f"{path} is not a latent cache ({error}); choose another file") from error


def _encoded(dataset: Any, autoencoder: Encoder, batch_size: int) -> dict[str, torch.Tensor]:
    raw, labels = encode_all(autoencoder, dataset, batch_size, device="cpu")
    named = {"mean": raw.mean, "std": raw.std, "labels": labels}
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def _encoder_fingerprint(autoencoder: Encoder) -> str:
    """Return the fingerprint of all weights except the latent statistics, which raw latents do not use."""
    weights = {name: value for name, value in autoencoder.state_dict().items() if not name.startswith("stats.")}
    return fingerprint(weights)
