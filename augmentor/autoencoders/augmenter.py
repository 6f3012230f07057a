"""What a `LatentAugment` holds: an autoencoder, a policy, a gate, and the reference set that these look at.

Data sets, loaders and shards know an `Augmenter`, and nothing else of the transform.
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

AUTO = "auto"  # chosen for a data set
DEFAULT_P = 0.5


class PerturbedLatents(NamedTuple):
    """Raw latents (B, *L), their labels, their weights by the gate (B,) or None.

    kept: bool (B,), true where the original stays because the gate rejected the sample or the policy found no partner
    for it; None where there can be none of these. sources: the images they were made from; where latents were known and
    nobody looks at an image (`needs_images`), maybe none of them, though of their shape. source_z: their standard
    latents (B, *L). made: the images that the gate has judged, float (B,C,H,W), None where it judged none.
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

    kept: as in `PerturbedLatents`; the image there is the original.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    weights: torch.Tensor | None
    kept: torch.Tensor | None


class Augmenter(nn.Module):
    """Chooses the autoencoder, owns it as a frozen submodule in eval mode, and fits the reference set.

    `LatentAugment` adds the flow from real images to synthetic samples; arguments are as there.
    """

    autoencoder: Autoencoder
    policy: LatentPolicy
    inference: Inference
    p: float = DEFAULT_P
    seed: int | None = None
    labels_getter: LabelsGetter

    # What a member adds, with arguments as of `LatentAugment`.
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
            raise InputError(f"gate is a QualityGate or None, got {gate!r}")
        if residual != AUTO and (isinstance(residual, str) or not 0 <= residual <= 1):
            raise InputError(f"residual is a number between 0 and 1 or {AUTO!r}, got {residual!r}")
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
        self.mixing: Any = None  # a `Mixing`, where a policy.json has one
        self._lacks_statistics = not bool(autoencoder.stats.fitted)
        self._brought_statistics = self._name is not None and not self._lacks_statistics
        _ = self.plan  # found now, so that forked workers have the same

    @property
    def needs_fit(self) -> bool:
        """Whether the policy or the gate looks at a reference set, and none has been fitted."""
        return self.reference is None and (self.policy.needs_reference or self.gate is not None)

    @property
    def needs_labels(self) -> bool:
        """Whether the policy or the gate looks at the labels of samples; else labels of any kind pass."""
        return (
            self.policy.needs_reference
            or self.policy.needs_labels
            or (self.gate is not None and self.reference is not None and self.reference.labelled)
        )

    @property
    def residual(self) -> float:
        """How much of what the autoencoder cannot reproduce is put back, 0 to 1."""
        if self._asked_residual is not None:
            return self._asked_residual
        verdict = self.autoencoder.verdict
        return 0.0 if verdict is None or verdict.word == GOOD else 1.0

    @property
    def unchanged(self) -> int:
        """How many samples stayed as they were in this process, since the policy had no partner for them."""
        return self._partnerless.count

    @property
    def keeps_geometry(self) -> bool:
        """Whether things stay where they are in an image, so that its boxes, masks and keypoints still fit."""
        return self.policy.keeps_geometry and len(self.autoencoder.latent_shape) > 1

    def check_synthesis(self, owner: str) -> None:
        """`InputError` for a `p` or `labels_getter` that `owner`, which makes synthetic samples, would ignore."""
        if self.p not in (1, DEFAULT_P) and self.mixing is None:
            raise InputError(
                f"{owner} perturbs every synthetic sample, and got a LatentAugment with p={self.p}; leave p out, and "
                "say how many samples are synthetic with ratio, num_samples or sampling_strategy"
            )
        if self.needs_labels and self.labels_getter is not default_labels:
            raise InputError(
                f"{owner} finds labels by itself, in items (image, label) or under a key 'label', and got a "
                "LatentAugment with a labels_getter, which it would ignore; leave that out, and give items of this form"
            )

    def check_labels(self, sample: Any) -> None:
        """`InputError` for a label that is a text, if labels are looked at: samples would count as unlabelled."""
        text = text_label(sample) if self.needs_labels else None
        if text is not None:
            raise InputError(
                f"got the label {str(text)!r:.60}, and policy {self.policy} has to know which images are of one "
                "class; expected class numbers: number the texts, as classes.index(label) does"
            )

    def check_geometry(self, sample: Any) -> None:
        """`InputError` for a sample with boxes, masks or keypoints, unless the policy keeps the geometry."""
        if not self.keeps_geometry and holds_geometry(sample):
            raise InputError(
                f"LatentAugment got bounding boxes, masks or keypoints, and with policy {self.policy} and autoencoder "
                f"{self.shown_name!r} things move in the image, so these would no longer fit; use a policy "
                "that keeps geometry, 'smooth', with an autoencoder of feature maps, such as 'natural'"
            )

    @property
    def needs_images(self) -> bool:
        """Whether real images are looked at even where their latents are known."""
        return self.residual > 0 or self.gate is not None

    @property
    def plan(self) -> InferencePlan:
        """How the autoencoder is run here: precision and memory layout."""
        return self.inference.plan

    @property
    def device(self) -> torch.device:
        """Where the autoencoder is and the work is done."""
        return self.autoencoder.device

    @property
    def shown_name(self) -> str:
        """The autoencoder as it was asked for, and an object by its family."""
        return self._name or self.autoencoder.name

    def choose_for(self, data: Any) -> None:
        """Where no autoencoder was named, take the pretrained one that suits these images; then `look_at` them.

        data: images (B,C,H,W), or a map-style data set, of which these are a few at equal steps. `fit`, data sets and
        shards do this. Raises `DataError` for an empty data set, and what `look_at` raises.
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
        """Look at images (C,H,W) or (B,C,H,W) before anything is made of them: every call does this.

        Where neither an autoencoder was named nor a data set has decided, the general one is taken: which images come
        first differs between the workers of a loader, so they cannot decide. An autoencoder that reconstructs the first
        eight or more of them poorly is warned of, once in each process.
        """
        if self._name == AUTO:
            self._decide(GENERAL)
        if self._first_look.verdict is not None:  # at every later call
            return
        images = images if images.ndim == 4 else images[None]
        wanted = self.autoencoder.image_shape
        if takes_shape(wanted, images.shape[1:]):  # if not, whoever uses them says so
            check_images(images, wanted, f"LatentAugment with autoencoder {self.shown_name!r}")
            self._first_look.at(images, self.autoencoder, self.shown_name)

    def fit(
        self, data: Any, labels: Any = None, *, batch_size: int = 256, unlabelled: Any = None, images: Any = None
    ) -> Self:
        """Encode real images once: the reference set, and what the policy and the gate learn from it.

        data: a map-style data set, an `IterableDataset`, an iterable of batches such as a loader, images as one array
        or tensor with their `labels`, or a `LatentCache`, of which nothing is encoded again. Where nothing is labelled
        all images count as one class. Images with ignored labels (`ignore_index`, negative numbers, rows of zeros) are
        never partners. unlabelled: more images of the same kind, whose labels, if any, are not looked at. Those that
        label spreading is sure of (`augmentor.latents.spread_labels`) become reference samples as well, with a warning
        where too few labels that are hidden come out right (`PseudoLabeller.held_out`). Latent
        statistics are taken from the data, unless the autoencoder brought its own. images: those of a `LatentCache`,
        as a data set or an iterable of batches, without which a gate judges latents alone.
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
                    "fit finds labels by itself, in items (image, label) or under a key 'label', and found none, and "
                    "this LatentAugment has a labels_getter; give them with fit(images, labels)"
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
        """The same from raw latents (N, *L) and (M, *L) that are known already.

        num_classes: K, where `labels` may not have the highest class. images: of the N, as `fit` takes them.
        """
        self._settle(None, warn=False)
        labels = None if labels is None else self.known(labels)
        num_classes = num_classes or num_classes_of(None, labels)
        reference = fit_reference(self.autoencoder.stats, raw, labels, num_classes, unlabelled)
        return self.fit_reference(reference, images)

    def fit_reference(self, reference: ReferenceSet, images: Any = None) -> Self:
        """The same from a reference set of this autoencoder that is known already. images: as `fit` takes them."""
        self._lacks_statistics = False
        self.policy.fit(reference)
        if self.gate is not None:
            if images is not None and not isinstance(images, RealImages):
                images = all_seen(self._real_images(num_samples(images)), images)
            fit_gate(self.gate, reference, images, self.inference, self.residual)
        self.reference = reference
        return self

    def known(self, labels: torch.Tensor) -> torch.Tensor:
        """The same labels, where every class number that is ignored is a negative one."""
        if labels.ndim != 1 or self.ignore_index < 0:
            return labels
        return labels.masked_fill(labels == self.ignore_index, IGNORED)

    def soften(self, labels: torch.Tensor | None) -> torch.Tensor | None:
        """Labels as float (B,K) if the policy mixes classes, so that all rows of a batch have labels of one kind."""
        if labels is None:
            return None
        count = self.policy.soft_classes(labels, self.reference)
        return labels if count is None else soft_labels(self.known(labels), count)

    def restore_statistics(self, statistics: dict[str, list[float]]) -> None:
        """Take latent statistics that `LatentStats.values` gave; `WeightsError` for those of another autoencoder."""
        try:
            self.autoencoder.stats.restore(**statistics)
        except ShapeError as error:
            raise WeightsError(f"{error}; the config was made with another autoencoder: give that one") from error
        self._lacks_statistics = False

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, so that a model that owns the transform can be trained."""
        return super().train(False)

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Changes nothing: the initialisation of a model that owns the transform must not reach the autoencoder."""
        return self

    # The weights are those of a named or given autoencoder and never change, so a checkpoint of a model that owns the
    # transform holds none of them, as for every transform of torchvision, and loads before and after the first batch.
    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Empty: see `to_config` for what describes the transform."""
        return OrderedDict() if destination is None else destination

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in [name for name in state_dict if name.startswith(prefix)]:
            del state_dict[name]
        own = super().state_dict(prefix=prefix)
        state_dict.update(own)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _take(self, autoencoder: Autoencoder) -> None:
        """Own this autoencoder, frozen, and the policy for its kind of latents if none was asked for."""
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        self.inference = Inference(autoencoder, *self._precision)
        self.policy = self._asked_policy or default_policy(autoencoder.latent_shape)

    def _decide(self, name: str) -> None:
        """The autoencoder that is held, of this name, is the one to use."""
        self._name = name
        self.policy.check_autoencoder(self.autoencoder)

    def _settle(self, images: torch.Tensor | None, *, warn: bool = True) -> None:
        """Look at these images; latents that are known (None) are those of the present autoencoder."""
        if images is not None:
            self.look_at(images)
        elif self._name == AUTO:
            self._decide(GENERAL)
        if warn and self._lacks_statistics:
            self._lacks_statistics = False
            warnings.warn(
                f"autoencoder {self.autoencoder.name!r} has no latent statistics, so a strength of 1 is one raw unit; "
                "call augment.fit(dataset), or train it with AutoencoderTrainer",
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
    """A few images of a map-style data set, at equal steps, as batches (B,C,H,W) of one shape and type each."""
    if len(dataset) == 0:
        raise DataError("got an empty data set; expected at least one image")
    found: dict[Any, list[torch.Tensor]] = {}
    for item in fetch_items(dataset, equal_steps(len(dataset), LEAST)):
        image = image_to_tensor(split_item(item)[0])
        found.setdefault((image.shape, image.dtype), []).append(image)
    return [torch.stack(images) for images in found.values()]
