"""`LatentAugment`: encode, perturb, decode, as a torchvision transform.

images => raw latents => standard latents => (policy) => standard latents' => raw latents' => images'
"""

from __future__ import annotations

import itertools
import os
import warnings
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from torch.utils.data import get_worker_info
from torchvision.transforms import v2

from ._internal.checks import check_images, to_unit_float
from ._internal.config import AugmentConfig
from ._internal.epoch import SharedEpoch
from ._internal.items import (
    LabelsGetter,
    batches,
    image_to_tensor,
    labels_tensor,
    no_labels,
    num_classes_of,
    resolve_labels_getter,
    tensor_to_image,
)
from ._internal.random import FreshKeys, Integers, SampleRandom, pixel_fingerprints, sample_keys
from ._internal.samples import Sample
from ._internal.transfer import sent
from ._internal.weights import fingerprint
from .autoencoders import Autoencoder, Inference, InferencePlan, load_autoencoder
from .autoencoders.augmenter import Perturbed, PerturbedLatents
from .autoencoders.pretrained import GENERAL, fitting_autoencoder
from .data import Mixing
from .exceptions import AugmentorWarning, DeviceError, InputError, ShapeError, WeightsError
from .latents import LatentCache, Latents, ReferenceSet, class_index, encode_all, per_sample, soft_labels, spread_labels
from .latents import Posterior as RawPosterior
from .policies import LatentPolicy, default_policy, get_policy
from .quality import QualityGate


class LatentAugment(v2.Transform):
    """Replaces each image, with probability `p`, by the decoding of its perturbed latent.

    In a transform pipeline it takes one image; after the loader, on the device, it takes a batch, which is much
    faster. Images are PIL, `tv_tensors.Image`, or tensors (C,H,W) or (B,C,H,W), uint8 or floating in [0, 1]; put
    `v2.Normalize` after it. The output has the input's type, shape, dtype and device. Labels are found as by
    `v2.MixUp` and change only where the policy mixes classes: then they become float (B,K).

    autoencoder: a name from `list_autoencoders()`, the path of a `.safetensors` file, or an `Autoencoder`, which is
        frozen and kept in eval mode, whatever `.train()` its owner calls. ``"auto"`` waits for the first images:
        ``"digits"`` and ``"mnist"`` for theirs by shape, and ``"natural"`` for all others, with a warning.
    policy: a text such as ``"gaussian(std=0.5)"`` (see `list_policies()`) or a `LatentPolicy`; ``"auto"`` is
        `default_policy` of the latents.
    p: the chance of each image to be replaced, 0 to 1. Only the chosen ones are encoded and decoded.
    labels_getter: ``"default"`` (torchvision's convention), a callable on the sample, or None.
    seed: None draws anew at every call. A number makes the result a function of (seed, epoch, image): the same image
        gets the same result in any batch, worker or process; call `set_epoch` to vary it between epochs. (A policy
        with reference samples needs a fitted reference set for that: without one its reference samples are those of the batch.)
    residual: 0 to 1, how much of what the autoencoder cannot reproduce is put back: with 1 the result is the image
        plus what the perturbation changes in its decoding, so it keeps the image's own sharpness. For photographs; of
        line drawings, such as digits, a ghost of the old line stays. It costs a second decoding.
    gate: a `QualityGate` that judges every perturbed latent before it is decoded; an image whose latents it turns away
        stays as it is. It has to see real images first: call `fit`.
    precision: how the autoencoder is run. "fp32" is the network as it is, and gives the same result in every process.
        "auto" measures (half a second, once a kind of device) and takes the fastest of float32 and bfloat16, in either
        memory layout; bfloat16 only where decoded images keep a PSNR of 45 dB against float32. "bf16", or the text of
        a plan such as "bf16+channels_last", asks for that. See `plan`.
    compile: run it through `torch.compile`; pays for batches of one size.

    Gradients flow to the input if it requires them. Raises `ShapeError`, `RangeError` or `InputError` for images or
    labels that do not fit, `ReferenceSetError` where the policy combines samples and there are none to combine,
    `DeviceError` for CUDA inside a loader worker.

    >>> augment = LatentAugment("digits", "gaussian(std=0.5)", p=1.0)
    >>> images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    >>> images, labels = augment(images, labels)
    >>> images.shape, labels.shape
    (torch.Size([16, 1, 8, 8]), torch.Size([16]))
    """

    autoencoder: Autoencoder
    policy: LatentPolicy

    def __init__(
        self,
        autoencoder: str | Path | Autoencoder = "auto",
        policy: str | LatentPolicy = "auto",
        *,
        p: float = 0.5,
        labels_getter: str | LabelsGetter | None = "default",
        seed: int | None = None,
        residual: float = 0.0,
        gate: QualityGate | None = None,
        precision: str = "fp32",
        compile: bool = False,
    ):
        super().__init__()
        if not 0 <= p <= 1:
            raise InputError(f"p is a probability between 0 and 1, got {p}")
        if not 0 <= residual <= 1:
            raise InputError(f"residual is a share between 0 and 1, got {residual}")
        self._named = None if isinstance(autoencoder, Autoencoder) else str(autoencoder)
        self._own_policy = None if policy == "auto" else get_policy(policy)
        if not isinstance(autoencoder, Autoencoder):
            autoencoder = load_autoencoder(GENERAL if self._named == "auto" else autoencoder)
        self._run = precision, compile
        self._take(autoencoder)
        if gate is not None and not isinstance(gate, QualityGate):
            raise InputError(f"gate is a QualityGate or None, got {gate!r}")
        self.gate, self.residual = gate, float(residual)
        self.p, self.labels_getter, self.seed = p, resolve_labels_getter(labels_getter), seed
        self.reference: ReferenceSet | None = None
        self.mixing: Mixing | None = None
        self._epoch = SharedEpoch()
        self._fresh: FreshKeys | None = None
        self._warn_if_idle()
        self._warn_unfitted = not bool(self.autoencoder.stats.fitted)
        self._brought_statistics = self._named is not None and not self._warn_unfitted
        _ = self.plan  # found now, so that forked workers have the same

    @classmethod
    def from_config(
        cls,
        config: str | Path | dict[str, Any],
        *,
        autoencoder: str | Path | Autoencoder | None = None,
        labels_getter: str | LabelsGetter | None = "default",
        seed: int | None = None,
        precision: str = "fp32",
    ) -> LatentAugment:
        """The transform that a ``policy.json`` (of `augmentor tune`) or such a dict describes.

        autoencoder: the one that the document means, where it stands elsewhere or has no name at all, as an adapted
        model of yours. Statistics that the document has are restored to it.

        Fit it on your data where `needs_fit`. Raises `InputError` for what is no such document, `WeightsError` if the
        autoencoder is not the one that it was made with.
        """
        known = AugmentConfig.read(config, {"gate": QualityGate, "mixing": Mixing})
        source = known.autoencoder if autoencoder is None else autoencoder
        if source is None:
            raise InputError("the config names no autoencoder, since it was made with an object; give autoencoder= it")
        augment = cls(
            source, known.policy, p=known.p, labels_getter=labels_getter, seed=seed, residual=known.residual,
            gate=known.gate, precision=precision,
        )  # fmt: skip
        augment.mixing = known.mixing
        if known.statistics is not None:
            augment._restore(known.statistics)
        found = fingerprint(augment.autoencoder.state_dict())
        if known.autoencoder_sha256 not in (None, found):
            name = augment._named or augment.autoencoder.name
            raise WeightsError(
                f"autoencoder {name!r} has the fingerprint {found:.12}..., and the policy was chosen for "
                f"{known.autoencoder_sha256:.12}...; give that one, or tune again"
            )
        return augment

    def to_config(self) -> dict[str, Any]:
        """What `from_config` takes, for `json.dump`, with the latent statistics if `fit` took them.

        An `Autoencoder` object has no name to write down: give the same one to `from_config` again. What is still to
        be chosen by the first images is written down as "auto".
        """
        stats, still_open = self.autoencoder.stats, self._named == "auto"
        statistics = stats.values() if bool(stats.fitted) and not self._brought_statistics else None
        sha256 = None if still_open else fingerprint(self.autoencoder.state_dict())
        policy = "auto" if still_open and self._own_policy is None else str(self.policy)
        known = AugmentConfig(self._named, policy, self.p, sha256, self.residual, self.gate, self.mixing, statistics)
        return known.document()

    @property
    def needs_fit(self) -> bool:
        """Whether the policy or the gate looks at other real samples, and none have been fitted."""
        return self.reference is None and (self.policy.needs_reference or self.gate is not None)

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

    def choose_for(self, images: torch.Tensor) -> None:
        """Where no autoencoder was named, take the pretrained one for images of this shape (..., C,H,W), once.

        `fit` and the first images do this; until then it is the general one, which takes any.
        """
        if self._named != "auto":
            return
        self._named = fitting_autoencoder(images.shape[-3:])
        if self._named != GENERAL:
            self._take(load_autoencoder(self._named).to(self.device, self.autoencoder.dtype))
        else:
            warnings.warn(
                f"no pretrained autoencoder knows images {tuple(images.shape[-3:])}, so LatentAugment takes "
                f"{GENERAL!r}, which has seen photographs; name it to say so, or train one on your images",
                AugmentorWarning,
                stacklevel=3,
            )

    def _keep_chosen(self) -> None:
        """Latents that are known already are those of the autoencoder that it has."""
        self._named = GENERAL if self._named == "auto" else self._named

    def _take(self, autoencoder: Autoencoder) -> None:
        """Own this autoencoder, frozen, and the policy for its kind of latents if none was asked for."""
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        self.inference = Inference(autoencoder, *self._run)
        self.policy = self._own_policy or default_policy(autoencoder.latent_shape)

    def forward(self, *inputs: Any) -> Any:
        """A sample or a batch, in any structure that torchvision transforms take; the same structure comes back."""
        # Policies without a reference set do not look at labels, so those of any kind pass (boxes' classes, regression).
        getter = self.labels_getter if self.policy.needs_reference else no_labels
        sample = Sample(inputs if len(inputs) > 1 else inputs[0], getter)
        keys: np.ndarray | None = None
        for place in sample.image_places:
            image = image_to_tensor(sample.leaves[place])
            single = image.ndim == 3
            images, labels = self._checked(image, sample.label)
            keys = self._keys(images) if keys is None else keys
            images, labels = self.replace(images, labels, SampleRandom(keys, self.device))
            sample.leaves[place] = tensor_to_image(images[0] if single else images, like=sample.leaves[place])
        if labels is not None and self.policy.soft_classes(labels, self.reference) is not None:
            sample.put_label(labels[0] if single else labels)
        return sample.rebuilt()

    @overload
    def synthesize(
        self,
        images: torch.Tensor,
        labels: None = None,
        *,
        indices: Integers | None = ...,
        draw_index: Integers = ...,
        seed: int | None = ...,
        epoch: int | None = ...,
        raw: RawPosterior | None = ...,
        return_weights: Literal[False] = ...,
    ) -> torch.Tensor: ...

    @overload
    def synthesize(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        *,
        indices: Integers | None = ...,
        draw_index: Integers = ...,
        seed: int | None = ...,
        epoch: int | None = ...,
        raw: RawPosterior | None = ...,
        return_weights: bool = ...,
    ) -> Any: ...

    def synthesize(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        *,
        indices: Integers | None = None,
        draw_index: Integers = 0,
        seed: int | None = None,
        epoch: int | None = None,
        raw: RawPosterior | None = None,
        return_weights: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Only synthetic samples: one for each image (B,C,H,W), whatever `p` is; with labels if labels are given.

        indices: the samples' numbers in their data set; where they and a seed are given, the result depends on
        (seed, epoch, index, draw index) alone. draw_index: which synthetic version of the sample, one for all or one each.
        seed, epoch: instead of the transform's own. raw: the images' latents, where they are known (``cache[indices]``
        of a `LatentCache`); then nothing is encoded. return_weights: give also the gate's weights, float (B,) in
        [0, 1]; 0 marks an image that was left as it is, and without a gate all are 1.
        """
        images = image_to_tensor(images)
        seed, epoch = self.seed if seed is None else seed, self.epoch if epoch is None else epoch
        if indices is None:
            keys = self._keys(images, seed, epoch, draw_index)
        else:
            keys = sample_keys(0 if seed is None else seed, epoch, indices, draw_index)
        if len(keys) != len(images):
            raise ShapeError(f"got {len(keys)} indices or draw indices for {len(images)} images; expected one an image")
        labels = _labels_for(images, labels)
        made, new_labels, weights = self.perturb(images, labels, SampleRandom(keys, self.device), raw=raw)
        results = [tensor_to_image(made.to(images.device), like=images)]
        if new_labels is not None:
            results.append(new_labels.to(images.device))
        if return_weights:
            results.append((made.new_ones(len(made)) if weights is None else weights).to(images.device))
        return results[0] if len(results) == 1 else tuple(results)

    def perturb(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        random: SampleRandom,
        rows: torch.Tensor | None = None,
        raw: RawPosterior | None = None,
    ) -> Perturbed:
        """The whole flow on one batch: images (B,C,H,W) => float images of the same shape, on the autoencoder's device.

        random: one sequence for each result. Labels are int64 (B,), float (B,K) or None, and return so.
        rows: which images to perturb, int64 (n,), all by default; the rest of the batch can still be reference samples.
        raw: the images' raw latents, where they are known; then nothing is encoded.
        """
        latents = self.perturb_latents(images, labels, random, rows, raw)
        with torch.set_grad_enabled(torch.is_grad_enabled() and images.requires_grad):
            made = self.decoded(latents)
        return Perturbed(made, latents.labels, latents.weights)

    def decoded(self, latents: PerturbedLatents) -> torch.Tensor:
        """Float images (B,C,H,W) of perturbed latents, of the size of their sources; the rest of `perturb`."""
        size = latents.sources.shape[1:]
        made = self.inference.decode(latents.raw, size)
        if self.residual:
            known = self.inference.decode(self.autoencoder.stats.unstandardise(latents.source_z), size)
            lost = to_unit_float(latents.sources) - known
            made = (made + self.residual * lost).clamp(0, 1)
        if self.gate is None or latents.weights is None:
            return made
        rejected = per_sample(self.gate.rejected(latents.weights), made)
        return torch.where(rejected, to_unit_float(latents.sources), made)

    def perturb_latents(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        random: SampleRandom,
        rows: torch.Tensor | None = None,
        raw: RawPosterior | None = None,
    ) -> PerturbedLatents:
        """The same up to the decoder: encode, standardise, policy and gate, back to raw latents."""
        if raw is None:
            self.choose_for(images)
        else:
            self._keep_chosen()
        if self._warn_unfitted:
            self._say_unfitted()
        among_batch = rows is not None and len(images) > 1 and self.policy.needs_reference and self.reference is None
        if rows is not None and not among_batch:
            labels, raw = _rows(labels, rows), _rows_of(raw, rows)
            images = images[rows] if raw is None or self.needs_images else images[:0]
        device = self.device
        _refuse_cuda_in_worker(device)
        images, labels = sent(images, device), None if labels is None else sent(labels, device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and images.requires_grad):
            latents, reference = self._standard(images, self.soften(labels), raw), self._reference_here()
            if rows is not None and among_batch:
                picked = sent(rows, device)
                reference, latents, images = ReferenceSet.of_batch(latents), latents.take(picked), images[picked]
            made, weights = self._drawn(latents, random, reference)
            raw_made = self.autoencoder.stats.unstandardise(made.z)
            return PerturbedLatents(raw_made, made.labels, weights, images, latents.z)

    def _standard(self, images: torch.Tensor, labels: torch.Tensor | None, raw: RawPosterior | None) -> Latents:
        """Standard latents of images, float32 as the noise and the reference set; encoded unless the raw ones are known."""
        stats = self.autoencoder.stats
        if raw is None:
            # Those that are compared with a reference set have to be as exact as the reference set is.
            raw = self.inference.encode(images, exact=self.policy.needs_reference or self.gate is not None)
        else:
            device, (mean, std) = self.device, raw
            raw = RawPosterior(sent(mean, device), None if std is None else sent(std, device))
        posterior_std = None if raw.std is None else (raw.std / stats.std).float()
        return Latents(stats.standardise(raw.mean).float(), posterior_std, labels)

    def _drawn(
        self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None
    ) -> tuple[Latents, torch.Tensor | None]:
        """What the policy makes of the latents, and the gate of that."""
        if self.gate is None:
            return self.policy(latents, random, reference), None
        if reference is None and self.policy.needs_reference:
            reference = ReferenceSet.of_batch(latents)  # the few that are drawn again still choose from the whole batch
        return self.gate.choose(latents, lambda source, sequences: self.policy(source, sequences, reference), random)

    def replace(
        self, images: torch.Tensor, labels: torch.Tensor | None, random: SampleRandom, p: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Perturb the rows that chance picks, and only those; the others pass untouched.

        Takes and gives what `perturb` does, with the images' own dtype and device. p: instead of the transform's own.
        """
        if self.gate is not None and self.gate.action == "weigh":
            raise InputError(
                "a gate that weighs gives weights, which a transform cannot hand on; use one that re-draws, "
                "synthesize(return_weights=True), or AugmentedLoader(return_weights=True)"
            )
        picked = random.bernoulli(self.p if p is None else p)
        softened = self.soften(labels)
        count, rows = np.count_nonzero(picked), None
        if count == 0:
            return images, softened
        if count < len(images):
            rows, random = sent(torch.from_numpy(np.flatnonzero(picked)), images.device), random.take(picked)
        made, made_labels, _ = self.perturb(images, softened, random, rows)
        images = _put(images, rows, tensor_to_image(made.to(images.device), like=images))
        if softened is not None and made_labels is not None and softened.is_floating_point():
            softened = _put(softened, rows, made_labels.to(softened))
        return images, softened

    def fit(self, data: Any, batch_size: int = 256, *, unlabelled: Any = None) -> LatentAugment:
        """Encode a data set (or an iterable of batches) once: the reference set, and what policy and gate fit.

        unlabelled: more images of the same kind, whose labels, if any, are not looked at. Labels spread to those that
        are sure of them (`augmentor.latents.spread_labels`), which then are reference samples as well. Latent statistics are
        taken from the data, unless the autoencoder brought its own.

        data: a map-style data set, an iterable of batches, or a `LatentCache`, of which nothing is encoded again.
        """
        if isinstance(data, LatentCache):
            more = None if unlabelled is None else encode_all(self.autoencoder, unlabelled, batch_size)[0].mean
            return self.fit_latents(data.mean, data.labels, data.num_classes, unlabelled=more)
        found = batches(data, batch_size)
        first = list(itertools.islice(found, 1))
        for images, _ in first:
            self.choose_for(images)
        raw, labels = encode_all(self.autoencoder, itertools.chain(first, found), batch_size)
        more = None if unlabelled is None else encode_all(self.autoencoder, unlabelled, batch_size)[0].mean
        return self.fit_latents(raw.mean, labels, num_classes_of(data, labels), unlabelled=more)

    def fit_latents(
        self,
        raw: torch.Tensor,
        labels: torch.Tensor | None = None,
        num_classes: int | None = None,
        *,
        unlabelled: torch.Tensor | None = None,
    ) -> LatentAugment:
        """The same from raw latents (N, *L) and (M, *L) that are known already, as of a `LatentCache`."""
        self._keep_chosen()
        raw, stats = raw.to(self.device), self.autoencoder.stats
        more = raw[:0] if unlabelled is None else unlabelled.to(self.device)
        if not stats.fitted:
            stats.fit([raw, more])
        self._warn_unfitted = False
        z, labels = stats.standardise(raw).float(), None if labels is None else labels.to(self.device)
        others = stats.standardise(more).float()
        if len(others) and labels is not None:
            rows, spread = spread_labels(z, labels, others)
            others, labels = others[rows], torch.cat([class_index(labels), spread])
        reference = ReferenceSet(torch.cat([z, others]), labels, num_classes)
        self.policy.fit(reference)
        if self.gate is not None:
            self.gate.fit(reference)
        self.reference = reference
        return self

    def soften(self, labels: torch.Tensor | None) -> torch.Tensor | None:
        """Labels as float (B,K) if the policy mixes classes, so that all rows of a batch have labels of one kind."""
        if labels is None:
            return None
        count = self.policy.soft_classes(labels, self.reference)
        return labels if count is None else soft_labels(labels, count)

    @property
    def epoch(self) -> int:
        """The epoch that results depend on when a seed is set."""
        return self._epoch.get()

    def set_epoch(self, epoch: int) -> None:
        """Vary the results of a seeded transform between epochs; reaches loader workers that already run."""
        self._epoch.set(epoch)

    def train(self, mode: bool = True) -> LatentAugment:
        """Stays in eval mode, so that a model that owns the transform can be trained."""
        return super().train(False)

    def extra_repr(self) -> str:
        more = f", residual={self.residual}" if self.residual else ""
        more += "" if self.gate is None else f", gate={self.gate}"
        return f"policy={self.policy}, p={self.p}, seed={self.seed}, precision={self.plan}{more}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fresh": None}

    def _checked(self, images: torch.Tensor, label: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """An image with its label, or a batch with its labels, as a batch."""
        if images.ndim == 3:
            images, label = images[None], None if label is None else [label]
        labels = _labels_for(images, label)
        self.choose_for(images)
        check_images(images, self.autoencoder.image_shape, f"LatentAugment with autoencoder {self.autoencoder.name!r}")
        return images, labels

    def _keys(
        self, images: torch.Tensor, seed: int | None = None, epoch: int | None = None, draw_index: Integers = 0
    ) -> np.ndarray:
        seed = self.seed if seed is None else seed
        if seed is not None:
            return sample_keys(seed, self.epoch if epoch is None else epoch, pixel_fingerprints(images), draw_index)
        if self._fresh is None or self._fresh.process != os.getpid():  # a forked worker must not repeat its parent
            self._fresh = FreshKeys()
        return self._fresh.take(len(images))

    def _reference_here(self) -> ReferenceSet | None:
        if self.reference is not None:
            self.reference = self.reference.to(self.device)
        return self.reference

    def _restore(self, statistics: dict[str, list[float]]) -> None:
        try:
            self.autoencoder.stats.restore(**statistics)
        except ShapeError as error:
            raise WeightsError(f"{error}; the config was made with another autoencoder: give that one") from error
        self._warn_unfitted = False

    def _say_unfitted(self) -> None:
        self._warn_unfitted = False
        warnings.warn(
            f"autoencoder {self.autoencoder.name!r} has no latent statistics, so a strength of 1 is one raw unit; "
            "call augment.fit(dataset), or train it with AutoencoderTrainer",
            AugmentorWarning,
            stacklevel=3,
        )

    def _warn_if_idle(self) -> None:
        reason = "p=0" if self.p == 0 else f"policy {self.policy}" if self.policy.is_identity() else None
        if reason:
            warnings.warn(f"LatentAugment with {reason} perturbs nothing", AugmentorWarning, stacklevel=3)


def _refuse_cuda_in_worker(device: torch.device) -> None:
    if device.type != "cpu" and get_worker_info() is not None:
        raise DeviceError(
            f"LatentAugment is on {device} inside a DataLoader worker; augment batches after the loader "
            "(AugmentedLoader, or augment(images, labels) in the loop), or keep the transform on the CPU"
        )


def _labels_for(images: torch.Tensor, labels: Any) -> torch.Tensor | None:
    """Labels of any usual type as a tensor with one row an image."""
    labels = None if labels is None else labels_tensor(labels)
    if labels is not None and len(labels) != len(images):
        raise ShapeError(f"got {len(labels)} labels for {len(images)} images; expected one an image")
    return labels


def _rows(values: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor | None:
    return None if values is None else values[rows.to(values.device)]


def _put(values: torch.Tensor, rows: torch.Tensor | None, others: torch.Tensor) -> torch.Tensor:
    """Values with others in these rows, or in all of them."""
    return others if rows is None else values.index_copy(0, rows.to(values.device), others)


def _rows_of(raw: RawPosterior | None, rows: torch.Tensor) -> RawPosterior | None:
    return None if raw is None else RawPosterior(*(_rows(part, rows) for part in raw))  # type: ignore[arg-type]
