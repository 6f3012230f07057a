"""Samples of a normal distribution that is fitted to the latents of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .._internal.random import SampleRandom
from ..exceptions import ReferenceSetError
from ..latents import Latents, ReferenceSet, label_keys, per_sample
from ._base import LatentPolicy, Params, check_strength, policies

# Largest number of rows and columns of the covariance matrix of a class.
MAX_DIMENSIONS = 2048


@policies.register("class_gaussian")
class ClassGaussian(LatentPolicy):
    """Policy that samples a normal distribution fitted to the class: ``mean[class] + std * factor[class] @ noise``.

    ``factor`` is the Cholesky factor of the covariance, shrunk as by Ledoit and Wolf (2004). The initialisation of
    BAGAN (Mariani et al. 2018) draws samples in the same way. The policy replaces the latent and keeps only the label.
    It must be fitted (`augment.fit(dataset)`). Samples of a class with fewer than two images in that data set are kept.

    std: multiple of the standard deviation of the class, at least 0. Raises `InputError` for other values;
    `fit` raises `ReferenceSetError` for latents of more than 2,048 values.

    >>> ClassGaussian(std=0.8).std
    0.8
    """

    needs_reference = True

    def __init__(self, std: float = 1.0):
        check_strength("class_gaussian", std=std)
        self.std = std
        self.fitted: ClassGaussians | None = None

    @classmethod
    def strengths(cls) -> tuple[ClassGaussian, ClassGaussian, ClassGaussian]:
        return cls(0.5), cls(0.75), cls(1.0)

    def fit(self, reference: ReferenceSet) -> None:
        from sklearn.covariance import ledoit_wolf  # imported here, because it takes 0.5 s

        flat = reference.z.flatten(1).double().cpu().numpy()
        if flat.shape[1] > MAX_DIMENSIONS:
            raise ReferenceSetError(
                f"class_gaussian fits a covariance matrix, and {flat.shape[1]} latent dimensions are too many "
                f"(at most {MAX_DIMENSIONS}); use gaussian or smote for latents that are feature maps"
            )
        labels = reference.labels.cpu().numpy()
        classes = np.asarray([label for label, count in reference.class_counts().items() if count > 1], np.int64)
        if len(classes) == 0:
            self.fitted = None
            return
        groups = [flat[labels == label] for label in classes]
        covariances = [ledoit_wolf(group)[0] + 1e-6 * np.eye(flat.shape[1]) for group in groups]
        self.fitted = ClassGaussians(
            classes=torch.as_tensor(classes),
            means=torch.as_tensor(np.stack([group.mean(0) for group in groups])),
            factors=torch.as_tensor(np.linalg.cholesky(covariances)),
            labelled=reference.labelled,
        ).to(reference.z)

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        noise = random.normal(*latents.z.shape[1:])
        if self.fitted is None:
            return {"noise": noise, "kept": torch.ones(len(latents), dtype=torch.bool, device=latents.z.device)}
        self.fitted = self.fitted.to(latents.z)
        row, found = self.fitted.rows(latents)
        return {"noise": noise, "row": row, "kept": ~found}

    def apply(self, latents: Latents, params: Params) -> Latents:
        if self.fitted is None:
            return latents.moved(latents.z, kept=params["kept"])
        noise, row = params["noise"].flatten(1), params["row"]
        # Multiply every sample by all factors, then select by class: the host does not wait for the device.
        offsets = torch.einsum("kde,be->bkd", self.fitted.factors, noise)
        offset = offsets[torch.arange(len(row), device=row.device), row]
        z = (self.fitted.means[row] + self.std * offset).reshape(latents.z.shape)
        return latents.moved(torch.where(per_sample(params["kept"], z), latents.z, z), kept=params["kept"])


@dataclass(frozen=True)
class ClassGaussians:
    """Normal distributions of the latents of each class.

    classes: int64 (K,), sorted. means: (K,D). factors: Cholesky factors of the covariances (K,D,D). labelled: whether
    the classes come from labels; without labels there is one class.
    """

    classes: torch.Tensor
    means: torch.Tensor
    factors: torch.Tensor
    labelled: bool

    def to(self, like: torch.Tensor) -> ClassGaussians:
        """Return the distributions on the device and in the dtype of `like`."""
        if self.means.device == like.device and self.means.dtype == like.dtype:
            return self
        return ClassGaussians(self.classes.to(like.device), self.means.to(like), self.factors.to(like), self.labelled)

    def rows(self, latents: Latents) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the row of the class of each sample, int64 (B,), and whether the class was fitted, bool (B,)."""
        if (latents.labels is not None) != self.labelled:
            raise ReferenceSetError(
                "class_gaussian was fitted with labels, and the samples have none; pass the samples' labels"
                if self.labelled
                else "class_gaussian was fitted without labels, and the samples have labels; fit it on labelled data, "
                "or pass the samples without labels"
            )
        if latents.labels is None:
            row = torch.zeros(len(latents), dtype=torch.int64, device=latents.z.device)
            return row, row == 0
        wanted = label_keys(latents.labels).contiguous()
        row = torch.searchsorted(self.classes, wanted).clamp_max(len(self.classes) - 1)
        return row, self.classes[row] == wanted
