"""`LatentAugment` for albumentations pipelines, which pass one image at a time, as an array, by keyword.

albumentations is imported by this module only, with its version check switched off: that check would open a network
connection. This package needs nothing newer than the last MIT release, 2.0.8.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from .._internal.random import SampleRandom, fold, pixel_fingerprints, sample_keys
from ..exceptions import InputError
from ..transform import LatentAugment as TorchLatentAugment

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A


class LatentAugment(A.ImageOnlyTransform):
    """Replaces an image, with probability `p`, by the decoding of its perturbed latent.

    Images are (H,W) or (H,W,C), uint8 or float32 in [0, 1]; the shape and dtype stay. It can stand in `A.Compose`, be
    serialised (`A.to_dict`) and replayed (`A.ReplayCompose`).

    autoencoder: a name from `augmentor.list_autoencoders()`, the path of a `.safetensors` file, or ``"auto"``.
    policy: a text such as ``"gaussian(std=0.5)"``, or ``"auto"``; policies that change labels are refused.
    residual: 0 to 1, how much of what the autoencoder cannot reproduce is put back.

    Its noise comes from the pipeline's own random numbers (``A.Compose(..., seed=)``), together with the loader
    worker's seed and the image, so that workers and epochs differ.

    Two optional keywords of the pipeline's call reach it: ``sample_key=i`` makes the noise a function of i alone,
    whatever the worker and epoch; ``label=y`` is the class for policies that need one. Those also need `fit` first.

    >>> import numpy as np
    >>> transform = A.Compose([LatentAugment("digits", p=1.0)])
    >>> transform(image=np.zeros((8, 8, 1), np.uint8))["image"].shape
    (8, 8, 1)
    """

    __module__ = "augmentor.albumentations"  # the public path: saved pipelines and pickles refer to it

    class InitSchema(A.ImageOnlyTransform.InitSchema):
        """What albumentations checks of the arguments."""

        autoencoder: str
        policy: str
        residual: float

    def __init__(self, autoencoder: str = "auto", policy: str = "auto", p: float = 0.5, residual: float = 0.0):
        super().__init__(p=p)
        self.autoencoder, self.policy, self.residual = autoencoder, policy, residual
        if self.augment.policy.soft_classes(torch.zeros(1, 2), None) is not None:
            raise InputError(
                f"policy {policy!r} mixes labels, which an albumentations image transform cannot change; "
                "use same_class=True, or augmentor.LatentAugment on batches"
            )

    @functools.cached_property
    def augment(self) -> TorchLatentAugment:
        """The torchvision transform that does the work."""
        return TorchLatentAugment(self.autoencoder, self.policy, p=1.0, residual=self.residual)

    def fit(self, data: Any) -> LatentAugment:
        """Set the reference samples, which some policies need; see `augmentor.LatentAugment.fit`."""
        self.augment.fit(data)
        return self

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The random key of this call, and the label, as plain numbers that a replay can keep."""
        label = data.get("label")
        return {"key": self._key(data), "label": None if label is None else int(label)}

    def apply(self, img: np.ndarray, key: int, label: int | None = None, **params: Any) -> np.ndarray:
        """One image (H,W) or (H,W,C)."""
        return self.apply_to_images(img[None], key, label)[0]

    def apply_to_images(self, images: np.ndarray, key: int, label: int | None = None, **params: Any) -> np.ndarray:
        """Images (N,H,W) or (N,H,W,C), decoded in one call."""
        stack = np.asarray(images)
        tensor = torch.from_numpy(np.ascontiguousarray(stack if stack.ndim == 4 else stack[..., None]))
        random = SampleRandom(sample_keys(key, 0, np.arange(len(tensor))), self.augment.device)
        labels = None if label is None else torch.full((len(tensor),), label)
        with torch.no_grad():
            made, _, _ = self.augment.perturb(tensor.permute(0, 3, 1, 2), labels, random)
        result = made.permute(0, 2, 3, 1).cpu().numpy().reshape(stack.shape)
        return np.rint(result * 255).astype(np.uint8) if stack.dtype == np.uint8 else result.astype(stack.dtype)

    def _key(self, data: dict[str, Any]) -> int:
        if "sample_key" in data:
            return fold(0, "sample_key", int(data["sample_key"]))
        image = np.asarray(next(data[name] for name in self.targets if name in data))
        rows = torch.from_numpy(np.ascontiguousarray(image)).reshape(1, -1)
        pixels = int(pixel_fingerprints(rows)[0])
        # Forked workers repeat the pipeline's own draws (a defect of 2.0.8); their seed and the image tell them apart.
        worker = get_worker_info()
        drawn = int(self.random_generator.integers(2**63))
        return fold(drawn, "worker", 0 if worker is None else worker.seed, "image", pixels)
