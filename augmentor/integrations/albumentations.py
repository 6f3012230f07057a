"""`LatentAugment` for albumentations pipelines, which pass one image as an array by keyword.

Only this module imports albumentations. Its version check is disabled, because it would open a network connection. The
last release under the MIT licence, 2.0.8, is sufficient.
"""

from __future__ import annotations

import functools
import math
import operator
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from .._internal.checks import is_unit, takes_shape, unit_line
from .._internal.random import SampleRandom, fold, pixel_fingerprints, sample_keys
from .._internal.samples import labels_tensor
from ..autoencoders.augmenter import AUTO
from ..autoencoders.pretrained import full_name
from ..exceptions import InputError, RangeError, ReferenceSetError, ShapeError
from ..transform import LatentAugment as TorchLatentAugment

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

# Targets with positions in the image.
_GEOMETRY = frozenset({"mask", "masks", "mask3d", "masks3d", "bboxes", "keypoints"})


class LatentAugment(A.ImageOnlyTransform):
    """Transform that replaces an image, with probability `p`, by the decoding of its perturbed latent.

    Images are (H,W) or (H,W,C), uint8 or float32 in [0, 1]; shape and dtype are kept. The transform can be part of
    `A.Compose`, serialised (`A.to_dict`) and replayed (`A.ReplayCompose`). As for all albumentations transforms, random
    numbers are drawn once per call: additional targets of the kind "image", and all frames of `images` and `volume`,
    get the same noise.

    autoencoder: a name from `augmentor.list_autoencoders()`, the path of a `.safetensors` file (serialised as an
        absolute path), or ``"auto"``.
    policy: a string such as ``"gaussian(std=0.5)"``, or ``"auto"``; policies that change labels raise `InputError`.
    p: probability that an image is replaced, 0 to 1.
    residual: fraction of the reconstruction error that is added back to the output, 0 to 1, or "auto".

    Random numbers come from the pipeline: ``A.Compose(..., seed=)`` or `set_random_seed` makes them reproducible;
    ``torch.manual_seed`` alone does not. In loader workers they also depend on the seed of the worker, so workers and
    epochs differ, and a run is reproducible if both are seeded.

    The call of the pipeline accepts two optional keywords. With ``sample_key=i`` the noise depends only on i, not on
    worker and epoch. ``label=y`` is the class number, or a row (K,) of a soft or multi-hot label, for policies that
    combine samples of a class. These policies also need `fit`, again after `A.load`, and cannot be replayed. An image
    without a partner is kept unchanged, with one warning.

    Raises `InputError` (`ShapeError`, `RangeError`) for invalid images, and for masks, bounding boxes or keypoints in
    the call, unless the policy keeps the geometry, as ``smooth`` does on feature maps.

    >>> import numpy as np
    >>> transform = A.Compose([LatentAugment("digits", p=1.0)])
    >>> transform(image=np.zeros((8, 8, 1), np.uint8))["image"].shape
    (8, 8, 1)
    """

    __module__ = "augmentor.albumentations"  # public path, stored in saved pipelines and pickles

    class InitSchema(A.ImageOnlyTransform.InitSchema):
        """Types of the arguments, checked by albumentations."""

        autoencoder: str | Path
        policy: str
        residual: float | str

    def __init__(
        self, autoencoder: str | Path = AUTO, policy: str = AUTO, p: float = 0.5, residual: float | str = AUTO
    ):
        super().__init__(p=p)
        self.autoencoder = AUTO if autoencoder == AUTO else full_name(autoencoder)
        self.policy, self.residual = policy, residual
        self._geometry = set(_GEOMETRY)
        if self.augment.policy.soft_classes(torch.zeros(1, 2), None) is not None:
            raise InputError(
                f"policy {policy!r} mixes labels, but an albumentations image transform cannot change labels; "
                "use same_class=True, or augmentor.LatentAugment on batches"
            )

    @functools.cached_property
    def augment(self) -> TorchLatentAugment:
        """Return the torchvision transform that augments the images."""
        return TorchLatentAugment(self.autoencoder, self.policy, p=1.0, residual=self.residual)

    def fit(self, data: Any, labels: Any = None) -> LatentAugment:
        """Set the reference samples that some policies need; see `augmentor.LatentAugment.fit`.

        data, labels: images (N,H,W) or (N,H,W,C) as an array and labels (N,), or a data set of items (array, label).
        """
        self.augment.fit(data, labels)
        return self

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> Any:
        """Augment a sample, whose parts are keyword arguments, as for all albumentations transforms."""
        self._check_geometry(data)
        if _worker_seed() != self._seeded_in:
            # Copies in all workers and epochs have the same random state (a defect of 2.0.8); the worker seed
            # distinguishes them.
            seed = fold(int(self.random_generator.integers(2**63)), "worker", _worker_seed() or 0)
            self.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return super().__call__(*args, force_apply=force_apply, **data)

    def set_random_seed(self, seed: int | None) -> None:
        """Reset the random state to this seed; see albumentations."""
        super().set_random_seed(seed)
        self._seeded_in = _worker_seed()

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random) -> None:
        """Set the random generators; see albumentations."""
        super().set_random_state(random_generator, py_random)
        self._seeded_in = _worker_seed()

    def add_targets(self, additional_targets: dict[str, str]) -> None:
        """Add keywords for more targets; see albumentations."""
        super().add_targets(additional_targets)
        self._geometry.update(name for name, kind in additional_targets.items() if kind in _GEOMETRY)

    @property
    def available_keys(self) -> set[str]:
        """Return the keywords that a strict pipeline accepts."""
        return super().available_keys | {"sample_key", "label"}

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Return the random key of this call and the label as plain numbers, which a replay can store."""
        # If the policy does not use labels, labels of any type are accepted.
        label = data.get("label") if self.augment.needs_labels else None
        return {"key": self._key(data), "label": None if label is None else np.asarray(label).tolist()}

    def apply(self, img: np.ndarray, key: int, label: Any = None, **params: Any) -> np.ndarray:
        """Augment one image (H,W) or (H,W,C)."""
        return self.apply_to_images(img[None], key, label)[0]

    def apply_to_images(self, images: np.ndarray, key: int, label: Any = None, **params: Any) -> np.ndarray:
        """Augment images (N,H,W) or (N,H,W,C) in one call, with the same noise for all of them."""
        if self.replay_mode and self.augment.needs_fit:
            raise ReferenceSetError(
                f"policy {self.augment.policy} combines an image with reference samples, which a replay does not "
                "store; call the pipeline with sample_key= to reproduce an image"
            )
        tensor = self._tensor(images)
        keys = np.repeat(sample_keys(key, 0, 0), len(tensor))
        labels = None if label is None else labels_tensor([label] * len(tensor))
        with torch.no_grad():
            made, _ = self.augment.replace(tensor, labels, SampleRandom(keys, self.augment.device))
        return made.permute(0, 2, 3, 1).numpy().reshape(images.shape)

    def _key(self, data: dict[str, Any]) -> int:
        if "sample_key" in data:
            return fold(0, "sample_key", _sample_key(data["sample_key"]))
        image = np.asarray(next(data[name] for name in self.targets if name in data))
        rows = torch.from_numpy(np.ascontiguousarray(image)).reshape(1, -1)
        # All transforms of a seeded pipeline draw the same numbers; the image distinguishes two of this class.
        return fold(int(self.random_generator.integers(2**63)), "image", int(pixel_fingerprints(rows)[0]))

    def _check_geometry(self, data: dict[str, Any]) -> None:
        found = sorted(name for name in self._geometry if data.get(name) is not None)
        if not found:
            return
        shape = self.update_transform_params({}, data)["shape"]
        image = np.asarray(next(data[name] for name in self.targets if name in data))
        self._tensor(image.reshape(-1, *shape))  # the first images determine the autoencoder
        if not self.augment.keeps_geometry:
            raise InputError(
                f"LatentAugment got {', '.join(found)}, but policy {self.augment.policy} with autoencoder "
                f"{self.augment.shown_name!r} moves objects in the image, so these would no longer fit; use policy "
                "'smooth', which keeps geometry, with an autoencoder whose latents are feature maps, such as 'natural'"
            )

    def _tensor(self, images: np.ndarray) -> torch.Tensor:
        """Convert images (N,H,W) or (N,H,W,C) to (N,C,H,W) and check that the autoencoder accepts them."""
        if images.ndim not in (3, 4):
            raise ShapeError(f"LatentAugment takes images (H,W) or (H,W,C), got {images.shape[1:]}")
        _check_values(images)
        images = images if images.ndim == 4 else images[..., None]
        tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        self.augment.look_at(tensor)
        _check_shape(images.shape[1:], self.augment.autoencoder.image_shape)
        return tensor


def _check_values(images: np.ndarray) -> None:
    """Check that an array is uint8, or floating, finite and in [0, 1]."""
    if images.dtype == np.uint8:
        return
    if images.dtype.name not in ("float16", "float32", "float64"):
        raise InputError(
            f"LatentAugment takes uint8 arrays, or floats in [0, 1], got {images.dtype}; put "
            "A.ToFloat(max_value=...) before it, with the largest possible value of these images"
        )
    low, high = (float(images.min()), float(images.max())) if images.size else (0.0, 1.0)
    if not is_unit(low, high):
        advice = "replace them, for example with np.nan_to_num(x)"
        if math.isfinite(high - low):
            advice = (
                "put it before A.Normalize, or scale the array before the pipeline (A.ToFloat scales only integers): "
                f"{unit_line((low, high))}"
            )
        raise RangeError(f"LatentAugment takes floats in [0, 1], got values from {low:.4g} to {high:.4g}; {advice}")


def _check_shape(shape: Sequence[int], expected: Sequence[int | None]) -> None:
    """Check that an image (H,W,C) fits an autoencoder for images (C,H,W), where None is any size."""
    height, width, channels = shape
    if takes_shape(expected, (channels, height, width)):
        return
    if channels == 4:
        remedy = (
            "if the fourth channel is alpha: blend the image with a background; if all pixels are opaque, pass "
            "image[..., :3]"
        )
    elif channels == 3 and expected[0] == 1:
        remedy = "put A.ToGray(num_output_channels=1, p=1.0) before it, or choose an autoencoder for RGB"
    elif channels not in (1, expected[0]):
        remedy = "choose an autoencoder trained on such images"
    else:
        remedy = f"put A.Resize({expected[1]}, {expected[2]}) before it, or choose an autoencoder for this size"
    wanted = ", ".join("any" if n is None else str(n) for n in (*expected[1:], expected[0]))
    raise ShapeError(f"LatentAugment takes images ({wanted}) here, got (H,W,C) {(height, width, channels)}; {remedy}")


def _sample_key(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise InputError(f"sample_key must be an integer, such as the index of a sample; got {value!r:.60}") from error


def _worker_seed() -> int | None:
    """Return the seed of this loader worker, which differs between workers and epochs; None in other processes."""
    worker = get_worker_info()
    return None if worker is None else worker.seed
