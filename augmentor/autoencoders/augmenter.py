"""`Augmenter`: the autoencoder, policy, gate and reference set of a `LatentAugment`.

Data sets, loaders and shards depend on `Augmenter` only.
"""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn

from .._internal.checks import check_images, check_range, takes_shape
from .._internal.datasets import (
    batches,
    class_names_of,
    equal_steps,
    fetch_items,
    items_of,
    num_classes_of,
    num_samples,
)
from .._internal.samples import (
    LabelsGetter,
    default_labels,
    holds_geometry,
    image_to_tensor,
    no_labels,
    split_item,
    text_label,
)
from ..exceptions import AugmentorWarning, DataError, InputError, ShapeError, WeightsError
from ..latents import IGNORED, LatentCache, ReferenceSet, encode_all, soft_labels
from ..latents.fitting import fit_reference
from ..policies import LatentPolicy, default_policy, get_policy
from ..quality import QualityGate
from ..quality.real_images import RealImages
from ..quality.verdict import GOOD
from .base import Autoencoder
from .calibration import all_seen, fit_gate
from .first_look import LEAST, FirstLook
from .inference import Inference, InferencePlan
from .partnerless import Partnerless
from .pretrained import GENERAL, fitting_autoencoder, full_name, load_autoencoder

AUTO = "auto"  # selected for the data set
DEFAULT_P = 0.5


class PerturbedLatents(NamedTuple):
    """Raw latents (B, *L), their labels, and their weights from the gate, (B,) or None.

    kept: bool (B,), true where the original image is kept because the gate rejected the sample or the policy found no
        partner for it; None if neither can occur.
    sources: the original images. The batch may be empty if their latents were given and `needs_images` is false.
    source_z: the standardised latents (B, *L) of the original images.
    made: the decoded images that the gate scored, float (B,C,H,W); None if it scored no images.
    """

    raw: torch.Tensor
    labels: torch.Tensor | None
    weights: torch.Tensor | None
    kept: torch.Tensor | None
    sources: torch.Tensor
    source_z: torch.Tensor
    made: torch.Tensor | None = None


class Perturbed(NamedTuple):
    """Float images (B,C,H,W), labels int64 (B,), float (B,K) or None, and weights float (B,) or None without a gate.

    kept: as in `PerturbedLatents`; these images are the originals.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    weights: torch.Tensor | None
    kept: torch.Tensor | None


class Augmenter(nn.Module):
    """Base class of `LatentAugment` that selects the autoencoder and fits the reference set.

    The autoencoder is a frozen submodule in eval mode. `LatentAugment` adds the steps from real images to synthetic
    samples, and documents the arguments.
    """

    autoencoder: Autoencoder
    policy: LatentPolicy
    inference: Inference
    p: float = DEFAULT_P
    seed: int | None = None
    labels_getter: LabelsGetter

    # Defined by `LatentAugment`, with the arguments documented there.
    perturb_latents: Callable[..., PerturbedLatents]
    perturb: Callable[..., Perturbed]
    synthesize: Callable[..., Any]

    def __init__(
        self,
        autoencoder: str | Path | Autoencoder,
        policy: str | LatentPolicy,
        *,
        gate: QualityGate | None,
        precision: str,
        compile: bool,
        ignore_index: int,
        strict: bool,
        residual: float | str,
    ):
        super().__init__()
        if gate is not None and not isinstance(gate, QualityGate):
            raise InputError(f"gate must be a QualityGate or None, got {gate!r}")
        if residual != AUTO and (isinstance(residual, str) or not 0 <= residual <= 1):
            raise InputError(f"residual must be a number between 0 and 1 or {AUTO!r}, got {residual!r}")
        self._asked_residual = None if residual == AUTO else float(residual)
        self._asked_policy = None if policy == AUTO else get_policy(policy)
        self._precision = precision, compile
        self._name: str | None = None
        if not isinstance(autoencoder, Autoencoder):
            self._name = AUTO if autoencoder == AUTO else full_name(autoencoder)
            autoencoder = load_autoencoder(GENERAL if self._name == AUTO else self._name)
        self._take(autoencoder)
        if self._name != AUTO:
            self.policy.check_autoencoder(autoencoder)
        self.gate, self.ignore_index = gate, ignore_index
        self._partnerless, self._first_look = Partnerless(strict), FirstLook()
        self.reference: ReferenceSet | None = None
        self.mixing: Any = None  # the `Mixing` of a policy.json, if it has one
        self._lacks_statistics = not bool(autoencoder.stats.fitted)
        self._brought_statistics = self._name is not None and not self._lacks_statistics
        _ = self.plan  # determined here, so that forked workers use the same plan

    @property
    def needs_fit(self) -> bool:
        """Whether the policy or the gate needs a reference set and none has been fitted."""
        return self.reference is None and (self.policy.needs_reference or self.gate is not None)

    @property
    def needs_labels(self) -> bool:
        """Whether the policy or the gate uses the labels of samples. If not, labels of any kind are accepted."""
        return (
            self.policy.needs_reference
            or self.policy.needs_labels
            or (self.gate is not None and self.reference is not None and self.reference.labelled)
        )

    @property
    def residual(self) -> float:
        """Fraction of the reconstruction error that is added back to the output image, 0 to 1."""
        if self._asked_residual is not None:
            return self._asked_residual
        verdict = self.autoencoder.verdict
        return 0.0 if verdict is None or verdict.word == GOOD else 1.0

    @property
    def unchanged(self) -> int:
        """Number of samples kept unchanged in this process because the policy found no partner for them."""
        return self._partnerless.count

    @property
    def keeps_geometry(self) -> bool:
        """Whether objects keep their position in the image, so that its boxes, masks and keypoints stay valid."""
        return self.policy.keeps_geometry and len(self.autoencoder.latent_shape) > 1

    def check_synthesis(self, owner: str) -> None:
        """Raise `InputError` for a `p` or `labels_getter` that `owner`, which makes synthetic samples, would ignore."""
        if self.p not in (1, DEFAULT_P) and self.mixing is None:
            raise InputError(
                f"{owner} perturbs every synthetic sample, but got a LatentAugment with p={self.p}; leave p out, and "
                "set the number of synthetic samples with ratio, num_samples or sampling_strategy"
            )
        if self.needs_labels and self.labels_getter is not default_labels:
            raise InputError(
                f"{owner} reads labels from items (image, label) or from a key 'label', but got a LatentAugment with a "
                "labels_getter, which it would ignore; leave labels_getter out, and give items of this form"
            )

    def check_labels(self, sample: Any) -> None:
        """Raise `InputError` for a label that is a string, if labels are used: samples would count as unlabelled."""
        text = text_label(sample) if self.needs_labels else None
        if text is not None:
            raise InputError(
                f"got the label {str(text)!r:.60}, but policy {self.policy} needs the class of each image; "
                "expected class numbers: convert the strings, for example with classes.index(label)"
            )

    def check_geometry(self, sample: Any) -> None:
        """Raise `InputError` for a sample with boxes, masks or keypoints, unless the policy keeps the geometry."""
        if not self.keeps_geometry and holds_geometry(sample):
            raise InputError(
                f"LatentAugment got bounding boxes, masks or keypoints, but policy {self.policy} with autoencoder "
                f"{self.shown_name!r} moves objects in the image, so these would no longer fit; use policy 'smooth', "
                "which keeps geometry, with an autoencoder whose latents are feature maps, such as 'natural'"
            )

    @property
    def needs_images(self) -> bool:
        """Whether real images are needed even if their latents are given."""
        return self.residual > 0 or self.gate is not None

    @property
    def plan(self) -> InferencePlan:
        """Inference plan of the autoencoder: precision, memory layout and compilation."""
        return self.inference.plan

    @property
    def device(self) -> torch.device:
        """Device of the autoencoder and of all computations."""
        return self.autoencoder.device

    @property
    def shown_name(self) -> str:
        """Name or path of the autoencoder as given; for an object, the name of its family."""
        return self._name or self.autoencoder.name

    def choose_for(self, data: Any) -> None:
        """Select the pretrained autoencoder for these images if none was named, and call `look_at`.

        data: images (B,C,H,W), or a map-style data set, of which a few evenly spaced images are used. `fit`, data sets
        and shards call this method. Raises `DataError` for an empty data set, and the errors of `look_at`.
        """
        of_shape = [data] if isinstance(data, torch.Tensor) else _some_of(data)
        if self._name == AUTO:
            for images in of_shape:
                check_range(images, "LatentAugment")
            name = fitting_autoencoder(of_shape[0]) if len(of_shape) == 1 else GENERAL
            if name != GENERAL:
                with torch.inference_mode(False):
                    self._take(load_autoencoder(name).to(self.device, self.autoencoder.dtype))
            self._decide(name)
        for images in of_shape:
            self.look_at(images)

    def look_at(self, images: torch.Tensor) -> None:
        """Check images (C,H,W) or (B,C,H,W) before they are augmented; every call of the transform does this.

        If no autoencoder was named and none was selected for a data set, the general one is selected: the first images
        differ between the workers of a loader, so they cannot determine the selection. If the autoencoder reconstructs
        the first images (at least eight) poorly, a warning is issued once per process.
        """
        if self._name == AUTO:
            self._decide(GENERAL)
        if self._first_look.verdict is not None:  # already assessed
            return
        images = images if images.ndim == 4 else images[None]
        wanted = self.autoencoder.image_shape
        if takes_shape(wanted, images.shape[1:]):  # otherwise a later check raises the error
            check_images(images, wanted, f"LatentAugment with autoencoder {self.shown_name!r}")
            self._first_look.at(images, self.autoencoder, self.shown_name)

    def fit(
        self, data: Any, labels: Any = None, *, batch_size: int = 256, unlabelled: Any = None, images: Any = None
    ) -> Self:
        """Encode real images as the reference set, fit the policy and the gate on it, and return the transform.

        Latent statistics are computed from the data, unless the autoencoder already has them.

        data: a map-style data set, an `IterableDataset`, an iterable of batches such as a loader, an array or tensor of
            images with their `labels`, or a `LatentCache`, which is not encoded again. Without labels all images count
            as one class. Images with ignored labels (`ignore_index`, negative numbers, rows of zeros) are never
            partners.
        batch_size: number of images per batch of a data set; a loader has its own batches.
        unlabelled: more images of the same kind; their labels, if any, are ignored. Images with confident pseudo-labels
            (`augmentor.latents.spread_labels`) become reference samples. A warning is issued if too few held-out labels
            are predicted correctly (`PseudoLabeller.held_out`).
        images: those of a `LatentCache`, as a data set or an iterable of batches; without them a gate scores latents
            only.

        Raises `DataError` for data without images and for images of several sizes, `ShapeError` or `RangeError` for
        invalid images, `InputError` for labels that are strings, and `ReferenceSetError` for a reference set that the
        policy or the gate cannot use.

        >>> from augmentor import LatentAugment
        >>> from augmentor.data import load_source
        >>> LatentAugment("digits", "smote(k=5)").fit(load_source("digits")).reference.class_counts()[0]
        178
        """
        more = None
        if labels is not None or isinstance(data, np.ndarray):
            data = items_of(data, labels)
        if isinstance(data, LatentCache):
            mean, labels, num_classes = data.mean, data.labels, data.num_classes
        else:
            total, found = num_samples(data), batches(data, batch_size)
            if total:
                self.check_labels(fetch_items(data, [0])[0])
                self.choose_for(data)
            first = list(itertools.islice(found, 1))
            for some, _ in first:
                self.choose_for(some)
            every: Any = itertools.chain(first, found)
            if self.gate is not None:
                images = self._real_images(total)
                every = images.watch(every)
            (mean, _), labels = encode_all(self.autoencoder, every, batch_size, total=total)
            num_classes = len(class_names_of(data)) or None
            if labels is None and self.needs_labels and self.labels_getter not in (default_labels, no_labels):
                raise InputError(
                    "fit reads labels from items (image, label) or from a key 'label' and found none; it does not use "
                    "the labels_getter of this LatentAugment: give the labels with fit(images, labels)"
                )
        if unlabelled is not None:
            more = encode_all(self.autoencoder, unlabelled, batch_size)[0].mean
        return self.fit_latents(mean, labels, num_classes, unlabelled=more, images=images)

    def fit_latents(
        self,
        raw: torch.Tensor,
        labels: torch.Tensor | None = None,
        num_classes: int | None = None,
        *,
        unlabelled: torch.Tensor | None = None,
        images: Any = None,
    ) -> Self:
        """Fit on raw latents (N, *L), and unlabelled ones (M, *L), instead of images; see `fit`.

        num_classes: K, needed if `labels` may lack the highest class. images: the N images, as in `fit`.
        """
        self._settle(None, warn=False)
        labels = None if labels is None else self.known(labels)
        num_classes = num_classes or num_classes_of(None, labels)
        reference = fit_reference(self.autoencoder.stats, raw, labels, num_classes, unlabelled)
        return self.fit_reference(reference, images)

    def fit_reference(self, reference: ReferenceSet, images: Any = None) -> Self:
        """Fit on an existing reference set of this autoencoder; see `fit`. images: as in `fit`."""
        self._lacks_statistics = False
        self.policy.fit(reference)
        if self.gate is not None:
            if images is not None and not isinstance(images, RealImages):
                images = all_seen(self._real_images(num_samples(images)), images)
            fit_gate(self.gate, reference, images, self.inference, self.residual)
        self.reference = reference
        return self

    def known(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the labels, with each ignored class number replaced by a negative one."""
        if labels.ndim != 1 or self.ignore_index < 0:
            return labels
        return labels.masked_fill(labels == self.ignore_index, IGNORED)

    def soften(self, labels: torch.Tensor | None) -> torch.Tensor | None:
        """Return labels as float (B,K) if the policy mixes classes, otherwise unchanged."""
        if labels is None:
            return None
        count = self.policy.soft_classes(labels, self.reference)
        return labels if count is None else soft_labels(self.known(labels), count)

    def restore_statistics(self, statistics: dict[str, list[float]]) -> None:
        """Set statistics from `LatentStats.values`; raise `WeightsError` for those of another autoencoder."""
        try:
            self.autoencoder.stats.restore(**statistics)
        except ShapeError as error:
            raise WeightsError(f"{error}; the config was made with another autoencoder: give that one") from error
        self._lacks_statistics = False

    def train(self, mode: bool = True) -> Self:
        """Keep eval mode, so that a model that contains the transform can be trained."""
        return super().train(False)

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Do nothing: initialising a model that contains the transform must not change the autoencoder."""
        return self

    # The weights are those of a named or given autoencoder and never change. So a checkpoint of a model that contains
    # the transform does not include them, as for torchvision transforms, and loads before and after the first batch.
    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Return an empty dict; `to_config` describes the transform."""
        return OrderedDict() if destination is None else destination

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in [name for name in state_dict if name.startswith(prefix)]:
            del state_dict[name]
        own = super().state_dict(prefix=prefix)
        state_dict.update(own)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _take(self, autoencoder: Autoencoder) -> None:
        """Use this autoencoder, frozen, and the default policy for its latents if none was given."""
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        self.inference = Inference(autoencoder, *self._precision)
        self.policy = self._asked_policy or default_policy(autoencoder.latent_shape)

    def _decide(self, name: str) -> None:
        """Select the current autoencoder, which has this name."""
        self._name = name
        self.policy.check_autoencoder(self.autoencoder)

    def _settle(self, images: torch.Tensor | None, *, warn: bool = True) -> None:
        """Check these images; without images (None), select the current autoencoder."""
        if images is not None:
            self.look_at(images)
        elif self._name == AUTO:
            self._decide(GENERAL)
        if warn and self._lacks_statistics:
            self._lacks_statistics = False
            warnings.warn(
                f"autoencoder {self.autoencoder.name!r} has no latent statistics, so strengths are in units of raw "
                "latents; call augment.fit(dataset), or train it with AutoencoderTrainer",
                AugmentorWarning,
                stacklevel=3,
            )

    def _real_images(self, total: int | None) -> RealImages:
        return RealImages(total, self.device, self.known, self.autoencoder.image_shape)

    def _reference_here(self) -> ReferenceSet | None:
        if self.reference is not None:
            self.reference = self.reference.to(self.device)
        return self.reference


def _some_of(dataset: Any) -> list[torch.Tensor]:
    """Return a few evenly spaced images of a data set, as batches (B,C,H,W) of one shape and dtype each."""
    if len(dataset) == 0:
        raise DataError("got an empty data set; expected at least one image")
    found: dict[Any, list[torch.Tensor]] = {}
    for item in fetch_items(dataset, equal_steps(len(dataset), LEAST)):
        image = image_to_tensor(split_item(item)[0])
        found.setdefault((image.shape, image.dtype), []).append(image)
    return [torch.stack(images) for images in found.values()]
