"""`LatentSampler`: oversampling in latent space, as an estimator of imbalanced-learn."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from imblearn.over_sampling.base import BaseOverSampler
from scipy import sparse
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from torch.utils.data import TensorDataset

from .._internal.random import seeded
from ..autoencoders import Autoencoder, DenseAutoencoder
from ..autoencoders.trainer import AutoencoderTrainer
from ..exceptions import InputError, ShapeError
from ..policies import LatentPolicy
from ..transform import LatentAugment

# Settings of the autoencoder that is trained on a matrix: for a few thousand rows, seconds on one core.
_STEPS, _BATCH, _WIDTH, _LATENT = 300, 64, 128, 32
# Number of rows that are encoded or decoded in one call.
_AT_ONCE = 256


class LatentSampler(BaseOverSampler):
    """Estimator that oversamples small classes with samples made in the latent space of an autoencoder.

    X is a matrix (n, features). With an autoencoder, its rows are flattened images. Without one, they are any numeric
    features: `fit_resample` scales them to [0, 1] and trains a small dense autoencoder on X (as DeepSMOTE does, Dablain
    et al. 2021). Use it before a classifier in an `imblearn.pipeline.Pipeline`.

    autoencoder: None, a name from `list_autoencoders()`, the path of a `.safetensors` file, or an `Autoencoder`.
    policy: a string such as ``"smote(k=5)"`` or a `LatentPolicy`; it must not mix classes.
    sampling_strategy: as in imbalanced-learn: "auto", "minority", a dict class -> total, a number, a callable.
    image_shape: shape (C,H,W) of a row of C * H * W values, uint8 or floating in [0, 1]; None uses the shape of the
        autoencoder. Only used with an autoencoder.
    random_state: None, a number or a `RandomState` for the training and the samples.

    After fitting, `sampling_strategy_` contains the number of new samples per class, and `augment_` is the
    `LatentAugment` that made them. The output starts with the rows of X, unchanged; the type of X is kept. Raises
    `ValueError` (`ShapeError`, `RangeError`, `ReferenceSetError`) for invalid input.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300] == 0
    >>> X_more, y_more = LatentSampler("digits", random_state=0).fit_resample(X, y)
    >>> X_more.shape, int(y_more.sum()) * 2 == len(y_more)
    ((538, 64), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "autoencoder": [None, str, Path, Autoencoder],
        "policy": [str, LatentPolicy],
        "sampling_strategy": [
            Interval(numbers.Real, 0, 1, closed="right"),
            StrOptions({"auto", "minority", "not minority", "not majority", "all"}),
            Mapping,
            callable,
        ],
        "image_shape": [tuple, list, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        autoencoder: str | Path | Autoencoder | None = None,
        policy: str | LatentPolicy = "smote(k=5)",
        *,
        sampling_strategy: str | float | Mapping[Any, int] | Callable[[Any], Mapping[Any, int]] = "auto",
        image_shape: tuple[int, int, int] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.autoencoder, self.policy = autoencoder, policy
        self.image_shape, self.random_state = image_shape, random_state

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        rows = X.toarray() if sparse.issparse(X) else X
        labels = torch.from_numpy(np.unique(y, return_inverse=True)[1].astype(np.int64))
        form = self._prepare(rows, seed)
        images = form.images(rows)
        self.augment_.fit(zip(images.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True))
        if self.augment_.policy.soft_classes(labels, self.augment_.reference) is not None:
            raise InputError(f"policy {self.policy} mixes classes; expected one that keeps them, such as 'smote(k=5)'")
        made, targets = [rows], [y]
        for label, count in self.sampling_strategy_.items():
            members = random.permutation(np.flatnonzero(y == label))
            draws, places = np.divmod(np.arange(count), len(members))  # counts of rows differ by at most 1
            for start in range(0, count, _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                of = members[places[part]]
                samples, _ = self.augment_.synthesize(
                    images[of], labels[of], indices=of, draw_index=draws[part], seed=seed
                )
                made.append(form.rows(samples))
            targets.append(np.full(count, label, dtype=y.dtype))
        samples = np.concatenate(made)
        return type(X)(samples) if sparse.issparse(X) else samples, np.concatenate(targets)

    def _prepare(self, rows: np.ndarray, seed: int) -> _Table | _Pixels:
        """Return the conversion between rows and images, and set `augment_`, not yet fitted."""
        if self.autoencoder is None:
            table = _Table(rows)
            self.augment_ = LatentAugment(_trained(table.images(rows), seed), self.policy, strict=True)
            return table
        self.augment_ = LatentAugment(self.autoencoder, self.policy, strict=True)
        return _Pixels(rows, self.image_shape or self.augment_.autoencoder.image_shape)


class _Pixels:
    """Conversion of rows that are flattened images."""

    def __init__(self, rows: np.ndarray, shape: Sequence[int | None]):
        if None in shape or math.prod(n or 0 for n in shape) != rows.shape[1]:
            raise ShapeError(f"rows of {rows.shape[1]} values are not images {tuple(shape)}; give image_shape=(C,H,W)")
        self.shape, self.dtype = tuple(n or 0 for n in shape), rows.dtype

    def images(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows)).reshape(-1, *self.shape)

    def rows(self, images: torch.Tensor) -> np.ndarray:
        return images.flatten(1).numpy().astype(self.dtype, copy=False)


class _Table:
    """Conversion of rows of any numbers, which are scaled to [0, 1] and padded with zeros to an image."""

    def __init__(self, rows: np.ndarray):
        self.features, self.dtype = rows.shape[1], rows.dtype
        self.scaler = MinMaxScaler(clip=True).fit(rows)
        least, most = DenseAutoencoder.sides
        width = min(most, max(least, -(-self.features // least)))
        self.shape = (1, max(least, -(-self.features // width)), width)
        if self.shape[1] > most:
            raise ShapeError(f"got rows of {self.features} values; for more than {most**2}, pass autoencoder=")

    def images(self, rows: np.ndarray) -> torch.Tensor:
        images = torch.zeros(len(rows), math.prod(self.shape))
        images[:, : self.features] = torch.from_numpy(self.scaler.transform(rows).astype(np.float32))
        return images.reshape(-1, *self.shape)

    def rows(self, images: torch.Tensor) -> np.ndarray:
        made = self.scaler.inverse_transform(images.flatten(1)[:, : self.features].double().numpy())
        made = made.clip(self.scaler.data_min_, self.scaler.data_max_)  # a constant feature keeps its value
        return (np.rint(made) if self.dtype.kind in "biu" else made).astype(self.dtype)


def _trained(images: torch.Tensor, seed: int) -> Autoencoder:
    _, channels, height, width = images.shape
    with seeded(seed, "init"):
        model = DenseAutoencoder((channels, height, width), _LATENT, hidden=(_WIDTH,), likelihood="gaussian")
    trainer = AutoencoderTrainer(
        model, steps=_STEPS, batch_size=_BATCH, val_fraction=0, transform=None, seed=seed, progress=False
    )
    return trainer.fit(TensorDataset(images))
