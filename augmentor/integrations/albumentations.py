"""`LatentAugment` for albumentations pipelines, which pass one image at a time, as an array, by keyword.

albumentations is imported by this module only, with its version check switched off: that check would open a network
connection. This package needs nothing newer than the last MIT release, 2.0.8.
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
    """Replaces an image, with probability `p`, by the decoding of its perturbed latent.

    Images are (H,W) or (H,W,C), uint8 or float32 in [0, 1]; the shape and dtype stay. It can stand in `A.Compose`, be
    serialised (`A.to_dict`) and replayed (`A.ReplayCompose`). As everywhere in albumentations, one call draws once:
    additional targets of the kind "image", and all frames of `images` and `volume`, get the same noise.

    autoencoder: a name from `augmentor.list_autoencoders()`, the path of a `.safetensors` file (serialised as an
        absolute one), or ``"auto"``.
    policy: a text such as ``"gaussian(std=0.5)"``, or ``"auto"``; policies that change labels are refused.
    residual: 0 to 1, how much of what the autoencoder cannot reproduce is put back, or "auto".

    Its random numbers are the pipeline's own: ``A.Compose(..., seed=)`` or `set_random_seed` repeats them, and
    ``torch.manual_seed`` alone does not. In the workers of a loader they also depend on the worker's seed, so that
    workers and epochs differ, and a run repeats where both are seeded.

    Two optional keywords of the pipeline's call reach it: ``sample_key=i`` makes the noise a function of i alone,
    whatever the worker and epoch; ``label=y`` is the class number, or a row (K,) of a soft or multi-hot label, for
    policies that combine samples of a class. Those also need `fit`, again after `A.load`, and cannot be replayed; an
    image that they have no partner for stays as it is, and a warning says so once.

    Raises `InputError` (`ShapeError`, `RangeError`) for images that do not fit, and for a mask, bounding boxes or
    keypoints in the call, unless the policy keeps content in its place, as ``smooth`` does on feature maps.

    >>> import numpy as np
    >>> transform = A.Compose([LatentAugment("digits", p=1.0)])
    >>> transform(image=np.zeros((8, 8, 1), np.uint8))["image"].shape
    (8, 8, 1)
    """

    __module__ = "augmentor.albumentations"  # the public path: saved pipelines and pickles refer to it

    class InitSchema(A.ImageOnlyTransform.InitSchema):
        """What albumentations checks of the arguments."""

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
                f"policy {policy!r} mixes labels, which an albumentations image transform cannot change; "
                "use same_class=True, or augmentor.LatentAugment on batches"
            )

    @functools.cached_property
    def augment(self) -> TorchLatentAugment:
        """The torchvision transform that does the work."""
        return TorchLatentAugment(self.autoencoder, self.policy, p=1.0, residual=self.residual)

    def fit(self, data: Any, labels: Any = None) -> LatentAugment:
        """Set the reference samples, which some policies need: images (N,H,W) or (N,H,W,C) as an array and `labels`
        (N,), or a data set of items (array, label); see `augmentor.LatentAugment.fit`.
        """
        self.augment.fit(data, labels)
        return self

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> Any:
        """A sample by keyword, as albumentations calls its transforms."""
        self._check_geometry(data)
        if _worker_seed() != self._seeded_in:
            # A copy in a worker has the state of the process that it comes from, and so have those of other workers
            # and epochs (a defect of 2.0.8). The worker's seed tells them apart.
            seed = fold(int(self.random_generator.integers(2**63)), "worker", _worker_seed() or 0)
            self.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return super().__call__(*args, force_apply=force_apply, **data)

    def set_random_seed(self, seed: int | None) -> None:
        """Start again from this seed; see albumentations."""
        super().set_random_seed(seed)
        self._seeded_in = _worker_seed()

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random) -> None:
        """Draw from these generators; see albumentations."""
        super().set_random_state(random_generator, py_random)
        self._seeded_in = _worker_seed()

    def add_targets(self, additional_targets: dict[str, str]) -> None:
        """Take more keywords of the kinds that are known; see albumentations."""
        super().add_targets(additional_targets)
        self._geometry.update(name for name, kind in additional_targets.items() if kind in _GEOMETRY)

    @property
    def available_keys(self) -> set[str]:
        """The keywords that a strict pipeline lets through."""
        return super().available_keys | {"sample_key", "label"}

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The random key of this call, and the label, as plain numbers that a replay can keep."""
        # Other policies do not look at labels, so those of any kind pass.
        label = data.get("label") if self.augment.needs_labels else None
        return {"key": self._key(data), "label": None if label is None else np.asarray(label).tolist()}

    def apply(self, img: np.ndarray, key: int, label: Any = None, **params: Any) -> np.ndarray:
        """One image (H,W) or (H,W,C)."""
        return self.apply_to_images(img[None], key, label)[0]

    def apply_to_images(self, images: np.ndarray, key: int, label: Any = None, **params: Any) -> np.ndarray:
        """Images (N,H,W) or (N,H,W,C), decoded in one call, with the same noise for each."""
        if self.replay_mode and self.augment.needs_fit:
            raise ReferenceSetError(
                f"policy {self.augment.policy} combines an image with reference samples, which a replay does not "
                "keep; call the pipeline with sample_key= to repeat an image"
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
        # The transforms of a pipeline with a seed all draw the same numbers: the image tells two of this class apart.
        return fold(int(self.random_generator.integers(2**63)), "image", int(pixel_fingerprints(rows)[0]))

    def _check_geometry(self, data: dict[str, Any]) -> None:
        found = sorted(name for name in self._geometry if data.get(name) is not None)
        if not found:
            return
        shape = self.update_transform_params({}, data)["shape"]
        image = np.asarray(next(data[name] for name in self.targets if name in data))
        self._tensor(image.reshape(-1, *shape))  # the first images choose the autoencoder
        if not self.augment.keeps_geometry:
            raise InputError(
                f"LatentAugment got {', '.join(found)}, and with policy {self.augment.policy} and autoencoder "
                f"{self.augment.shown_name!r} things move in the image, so these would no longer fit; use a "
                "policy that keeps geometry, 'smooth', with an autoencoder of feature maps, such as 'natural'"
            )

    def _tensor(self, images: np.ndarray) -> torch.Tensor:
        """Images (N,H,W) or (N,H,W,C) => (N,C,H,W), of a kind that the autoencoder takes."""
        if images.ndim not in (3, 4):
            raise ShapeError(f"LatentAugment takes images (H,W) or (H,W,C), got {images.shape[1:]}")
        _check_values(images)
        images = images if images.ndim == 4 else images[..., None]
        tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        self.augment.look_at(tensor)
        _check_shape(images.shape[1:], self.augment.autoencoder.image_shape)
        return tensor


def _check_values(images: np.ndarray) -> None:
    """Arrays are uint8, or floating, finite and in [0, 1]."""
    if images.dtype == np.uint8:
        return
    if images.dtype.name not in ("float16", "float32", "float64"):
        raise InputError(
            f"LatentAugment takes uint8 arrays, or floats in [0, 1], got {images.dtype}; put "
            "A.ToFloat(max_value=...) before it, with the largest value that such an image can have"
        )
    low, high = (float(images.min()), float(images.max())) if images.size else (0.0, 1.0)
    if not is_unit(low, high):
        advice = "mend them, as np.nan_to_num(x) does"
        if math.isfinite(high - low):
            advice = (
                "put it before A.Normalize, or scale the array before the pipeline, which A.ToFloat does to integers "
                f"alone: {unit_line((low, high))}"
            )
        raise RangeError(f"LatentAugment takes floats in [0, 1], got values from {low:.4g} to {high:.4g}; {advice}")


def _check_shape(shape: Sequence[int], expected: Sequence[int | None]) -> None:
    """An image (H,W,C) fits an autoencoder for images (C,H,W), where None is any size."""
    height, width, channels = shape
    if takes_shape(expected, (channels, height, width)):
        return
    if channels == 4:
        remedy = "if the last is alpha, put the image on a background, or where it is opaque pass image[..., :3]"
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
        raise InputError(f"sample_key is a whole number, such as the index of the sample, got {value!r:.60}") from error


def _worker_seed() -> int | None:
    """The seed of this loader worker, which differs between workers and epochs; None in other processes."""
    worker = get_worker_info()
    return None if worker is None else worker.seed
