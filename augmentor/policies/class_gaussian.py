"""A fresh sample of the class: one normal distribution fitted to the latents of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .._internal.random import SampleRandom
from ..exceptions import ReferenceSetError
from ..latents import Latents, ReferenceSet, class_index
from ._base import LatentPolicy, Params, check_strength, policies

# A covariance has the square of this many numbers for each class.
_MAX_DIMENSIONS = 2048


@policies.register("class_gaussian")
class ClassGaussian(LatentPolicy):
    """``mean[class] + std * factor[class] @ noise``, the covariance shrunk as by Ledoit and Wolf (2004).

    As in BAGAN's initialisation (Mariani et al. 2018). It replaces the latent, and keeps only the sample's label;
    it has to be fitted (`augment.fit(dataset)`) on at least two images of each class.

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
        from sklearn.covariance import ledoit_wolf  # 0.5 s to import, needed only here

        reference.require(2, str(self))
        flat = reference.z.flatten(1).double().cpu().numpy()
        if flat.shape[1] > _MAX_DIMENSIONS:
            raise ReferenceSetError(
                f"class_gaussian fits a covariance, and {flat.shape[1]} latent dimensions are too many "
                f"(at most {_MAX_DIMENSIONS}); use gaussian or smote for feature-map latents"
            )
        labels = reference.labels.cpu().numpy()
        classes = np.unique(labels)
        groups = [flat[labels == label] for label in classes]
        covariances = [ledoit_wolf(group)[0] + 1e-6 * np.eye(flat.shape[1]) for group in groups]
        self.fitted = ClassGaussians(
            classes=torch.as_tensor(classes),
            means=torch.as_tensor(np.stack([group.mean(0) for group in groups])),
            factors=torch.as_tensor(np.linalg.cholesky(covariances)),
        ).to(reference.z)

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        if self.fitted is None:
            raise ReferenceSetError("class_gaussian is not fitted; call augment.fit(dataset) first")
        self.fitted = self.fitted.to(latents.z)
        return {"noise": random.normal(*latents.z.shape[1:]), "row": self.fitted.rows(latents)}

    def apply(self, latents: Latents, params: Params) -> Latents:
        assert self.fitted is not None
        noise, row = params["noise"].flatten(1), params["row"]
        # Every class's factor on every sample, then the sample's own: small, and without waiting for the device.
        offsets = torch.einsum("kde,be->bkd", self.fitted.factors, noise)
        offset = offsets[torch.arange(len(row), device=row.device), row]
        z = (self.fitted.means[row] + self.std * offset).reshape(latents.z.shape)
        return Latents(z, latents.posterior_std, latents.labels)


@dataclass(frozen=True)
class ClassGaussians:
    """classes: int64 (K,), sorted. means: (K,D). factors: Cholesky factors of the covariances (K,D,D)."""

    classes: torch.Tensor
    means: torch.Tensor
    factors: torch.Tensor

    def to(self, like: torch.Tensor) -> ClassGaussians:
        """The same on the device and in the dtype of `like`."""
        if self.means.device == like.device and self.means.dtype == like.dtype:
            return self
        return ClassGaussians(self.classes.to(like.device), self.means.to(like), self.factors.to(like))

    def rows(self, latents: Latents) -> torch.Tensor:
        """For each sample the row of its class, int64 (B,)."""
        if latents.labels is None:
            if len(self.classes) > 1:
                raise ReferenceSetError("class_gaussian was fitted with labels; pass the samples' labels as well")
            return torch.zeros(len(latents), dtype=torch.int64, device=latents.z.device)
        wanted = class_index(latents.labels)
        row = torch.searchsorted(self.classes, wanted.contiguous()).clamp_max(len(self.classes) - 1)
        if row.device.type == "cpu" and bool((self.classes[row] != wanted).any()):
            unknown = wanted[self.classes[row] != wanted][0]
            raise ReferenceSetError(
                f"class_gaussian was not fitted on class {int(unknown)}; it knows {self.classes.tolist()}"
            )
        return row
