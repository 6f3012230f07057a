"""`LatentAugment`: encode, perturb, decode, as a torchvision transform.

images => raw latents => standardised latents => (policy, gate) => standardised latents' => raw latents' => images'
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from ._internal.checks import check_images, to_unit_float
from ._internal.columns import columns_of, is_columns, of_one_shape, rows_of, sample_of
from ._internal.config import AugmentConfig
from ._internal.epoch import SharedEpoch
from ._internal.random import Integers, SampleRandom, drawn_seed, pixel_fingerprints, sample_keys
from ._internal.samples import (
    LabelsGetter,
    default_labels,
    image_to_tensor,
    labels_tensor,
    no_labels,
    resolve_labels_getter,
    tensor_to_image,
)
from ._internal.transfer import refuse_in_worker, sent
from ._internal.weights import fingerprint
from .autoencoders import Autoencoder
from .autoencoders.augmenter import AUTO, DEFAULT_P, Augmenter, Perturbed, PerturbedLatents
from .data import Mixing
from .exceptions import AugmentorWarning, InputError, ShapeError
from .latents import IGNORED, Latents, Posterior, ReferenceSet, either, per_sample
from .policies import LatentPolicy
from .quality import QualityGate


class LatentAugment(Augmenter, v2.Transform):
    """Replaces each image, with probability `p`, by the decoding of its perturbed latent.

    In a transform pipeline it takes one image; after the loader, on the device, it takes a batch, which is much
    faster. Images are PIL without transparent pixels, numpy (H,W) or (H,W,C), `tv_tensors.Image`, or tensors (C,H,W) or
    (B,C,H,W), uint8 or floating in [0, 1]; put `v2.Normalize` after it. The output has the input's type, shape, dtype
    and device. Labels are found as by `v2.MixUp` and change only where the policy mixes classes: then they become
    float (B,K).

    autoencoder: a name from `list_autoencoders()`, the path of a `.safetensors` file or of the folder of the run that
        trained it, or an `Autoencoder`, which is frozen and kept in eval mode, whatever `.train()` its owner calls.
        ``"auto"`` is ``"natural"`` for any images, unless `fit`, a data set or shards show it a data set first: then
        ``"digits"`` or ``"mnist"``, whose latents are few numbers, if one of them does not reconstruct that poorly.
    policy: a text such as ``"gaussian(std=0.5)"`` (see `list_policies()`) or a `LatentPolicy`; ``"auto"`` is
        `default_policy` of the latents.
    p: the chance of each image to be replaced, 0 to 1. Only the chosen ones are encoded and decoded. `MixedDataset`,
        `AugmentedLoader` and shards perturb every synthetic sample, and refuse a `p` other than 1 or the default.
    labels_getter: ``"default"`` (torchvision's convention), a callable on the sample, or None.
    seed: None draws anew at every call, from torch's default generator (in a loader's worker, the worker's), so that
        `torch.manual_seed` repeats a run. A number makes the result a function of (seed, epoch, image): the same image
        gets the same result in any batch, worker or process; call `set_epoch` to vary it between epochs. (A policy
        that needs a reference set has to be fitted for that: without one its reference samples are those of the batch.)
    residual: 0 to 1, how much of what the autoencoder cannot reproduce is put back: with 1 the result is the image
        plus what the perturbation changes in its decoding, so it keeps the image's own sharpness. It costs a second
        decoding, and where lines move, as in digits, a ghost of the old line stays. ``"auto"`` is 0 for an autoencoder
        whose verdict on images that it was not trained on is "good" or not known (`Autoencoder.verdict`), and 1 for
        the others.
    gate: a `QualityGate` that judges every perturbed latent and the image that it becomes; an image whose samples it
        turns away stays as it is. It has to see real images first: call `fit`.
    precision: how the autoencoder is run. "fp32" is the network as it is, and gives the same result in every process.
        "auto" measures (half a second, once a kind of device) and takes the fastest of float32 and bfloat16, in either
        memory layout; bfloat16 only where decoded images keep a PSNR of 45 dB against float32. "bf16", or the text of
        a plan such as "bf16+channels_last", asks for that. See `plan`.
    compile: run it through `torch.compile`; pays for batches of one size.
    ignore_index: the class number that means "no label", as of `torch.nn.CrossEntropyLoss`; negative numbers and, among
        labels (B,K), rows of zeros do so in any case. A policy that combines samples leaves these images as they are
        and takes none of them as a partner.
    strict: raise `ReferenceSetError` where such a policy has no partner for an image: a batch of one without a
        reference set, a class of one image, a set of labels (B,K) that no other image has. Otherwise the image stays as
        it is, `unchanged` counts it, and a warning says so once. Where nothing is labelled all images are of one class.

    Policies move things in the image, so samples with bounding boxes, masks or keypoints (`tv_tensors`) are refused, as
    by `v2.MixUp`; one that keeps geometry passes them: "smooth" on feature maps. `state_dict` is empty, as for any
    transform of torchvision: `to_config` describes it, and the weights are those of the named autoencoder.

    Gradients flow to the input if it requires them. Raises `ShapeError`, `RangeError` or `InputError` for images or
    labels that do not fit, `DeviceError` for CUDA inside a loader worker.

    >>> augment = LatentAugment("digits", "gaussian(std=0.5)", p=1.0)
    >>> images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    >>> images, labels = augment(images, labels)
    >>> images.shape, labels.shape
    (torch.Size([16, 1, 8, 8]), torch.Size([16]))
    """

    def __init__(
        self,
        autoencoder: str | Path | Autoencoder = AUTO,
        policy: str | LatentPolicy = AUTO,
        *,
        p: float = DEFAULT_P,
        labels_getter: str | LabelsGetter | None = "default",
        seed: int | None = None,
        residual: float | str = AUTO,
        gate: QualityGate | None = None,
        precision: str = "fp32",
        compile: bool = False,
        ignore_index: int = IGNORED,
        strict: bool = False,
    ):
        super().__init__(
            autoencoder, policy, gate=gate, precision=precision, compile=compile, ignore_index=ignore_index,
            strict=strict, residual=residual,
        )  # fmt: skip
        if not 0 <= p <= 1:
            raise InputError(f"p is a number between 0 and 1, got {p}")
        self.p, self.seed, self.labels_getter = p, seed, resolve_labels_getter(labels_getter)
        self._epoch = SharedEpoch()
        reason = "p=0" if p == 0 else f"policy {self.policy}" if self.policy.is_identity() else None
        if reason:
            warnings.warn(f"LatentAugment with {reason} perturbs nothing", AugmentorWarning, stacklevel=2)

    @torch.compiler.disable
    def forward(self, *inputs: Any) -> Any:
        """A sample or a batch, in any structure that torchvision transforms take; the same structure comes back.

        A dict of lists, as Hugging Face `datasets` hands to `with_transform`, is a batch. In a module or function under
        `torch.compile` the graph breaks here.
        """
        # Labels that nobody looks at may be of any kind (classes of boxes, regression targets).
        getter = self.labels_getter if self.needs_labels else no_labels
        given = inputs if len(inputs) > 1 else inputs[0]
        if isinstance(given, Mapping) and not isinstance(given, dict):  # a row or batch of Hugging Face's `map`
            given = dict(given)
        if is_columns(given) and not of_one_shape(given):
            return columns_of([self(row) for row in rows_of(given)])
        sample = sample_of(given, getter)
        tensors = [image_to_tensor(sample.leaves[place]) for place in sample.image_places]
        self.look_at(tensors[0])
        self.check_geometry(sample.leaves)
        if getter is default_labels:
            self.check_labels(given)
        keys: np.ndarray | None = None
        for place, image in zip(sample.image_places, tensors, strict=True):
            single = image.ndim == 3
            images, labels = self._as_batch(image, sample.label)
            keys = self._keys(images) if keys is None else keys
            images, labels = self.replace(images, labels, SampleRandom(keys, self.device))
            sample.leaves[place] = tensor_to_image(images[0] if single else images, like=sample.leaves[place])
        if labels is not None and self.policy.soft_classes(labels, self.reference) is not None:
            sample.put_label(labels[0] if single else labels)
        return sample.rebuilt()

    def replace(
        self, images: torch.Tensor, labels: torch.Tensor | None, random: SampleRandom, p: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Perturb each image with probability `p`, and only those; the others pass untouched.

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
        made, made_labels, _, kept = self.perturb(images, labels, random, rows)
        new_images = tensor_to_image(made.to(images.device), like=images)
        if kept is not None:  # float64 images went through float32
            old_images = images if rows is None else images[rows]
            new_images = torch.where(per_sample(kept.to(images.device), images), old_images, new_images)
        images = _put(images, rows, new_images)
        if softened is not None and made_labels is not None and softened.is_floating_point():
            softened = _put(softened, rows, made_labels.to(softened))
        return images, softened

    @torch.compiler.disable
    def synthesize(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        *,
        indices: Integers | None = None,
        draw_index: Integers = 0,
        seed: int | None = None,
        epoch: int | None = None,
        raw: Posterior | None = None,
        return_weights: bool = False,
    ) -> Any:
        """Only synthetic samples: one for each image (B,C,H,W), whatever `p` is; with labels if labels are given.

        indices: the samples' numbers in their data set; where a seed is given, the result depends on (seed, epoch,
        index, draw index) alone, and without `indices` the pixels take their place. draw_index: which synthetic version
        of the sample, one for all or one each. seed, epoch: instead of the transform's own. raw: the images' latents,
        where they are known (``cache[indices]`` of a `LatentCache`); then nothing is encoded. return_weights: give also
        the gate's weights, float (B,) in [0, 1]; 0 marks a sample that was rejected, whose image is the original, and
        without a gate all are 1.
        """
        images = image_to_tensor(images)
        keys = self._keys(images, indices, draw_index, seed=seed, epoch=epoch)
        if len(keys) != len(images):
            raise ShapeError(f"got {len(keys)} indices or draw indices for {len(images)} images; expected one an image")
        labels = _labels_for(images, labels)
        made, new_labels, weights, _ = self.perturb(images, labels, SampleRandom(keys, self.device), raw=raw)
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
        raw: Posterior | None = None,
    ) -> Perturbed:
        """The whole flow on one batch: images (B,C,H,W) => float images of the same shape, on the autoencoder's device.

        random: one sequence for each result. Labels are int64 (B,), float (B,K) or None, and return so.
        rows: which images to perturb, int64 (n,), all by default; the rest of the batch can still be reference samples.
        raw: the images' raw latents, where they are known; then nothing is encoded.
        """
        latents = self.perturb_latents(images, labels, random, rows, raw)
        with _gradients_of(images):
            return Perturbed(self.decoded(latents), latents.labels, latents.weights, latents.kept)

    def perturb_latents(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        random: SampleRandom,
        rows: torch.Tensor | None = None,
        raw: Posterior | None = None,
    ) -> PerturbedLatents:
        """The same up to the decoder: encode, standardise, perturb, gate, back to raw latents."""
        self._settle(images if raw is None else None)
        in_batch = self.reference is None and self.policy.needs_reference and len(images) > 1
        if rows is not None and not in_batch:  # nobody looks at the other images
            labels, raw = None if labels is None else labels[rows.to(labels.device)], raw and raw.take(rows)
            looked_at = raw is None or self.needs_images or self.policy.needs_reference
            images, rows = images[rows] if looked_at else images[:0], None
        device = self.device
        refuse_in_worker(
            device, "LatentAugment is",
            "augment batches after the loader (AugmentedLoader, or augment(images, labels) in the loop), or keep the "
            "transform on the CPU",
        )  # fmt: skip
        images, labels = sent(images, device), None if labels is None else sent(labels, device)
        with _gradients_of(images):
            known = None if labels is None else self.soften(self.known(labels))
            latents, reference = self._standardised(images, known, raw), self._reference_here()
            if rows is not None:
                rows = sent(rows, device)
                reference, latents, images = ReferenceSet.of_batch(latents), latents.take(rows), images[rows]
                labels = None if labels is None else labels[rows]
            made, weights, pixels = self._gated(latents, images, random, reference)
            self._partnerless.note(made, self.policy, self.reference is not None)
            kept = made.kept if weights is None or self.gate is None else either(made.kept, self.gate.rejected(weights))
            z = made.z if kept is None else torch.where(per_sample(kept, made.z), latents.z, made.z)
            if made.labels is not None and made.labels.is_floating_point():
                labels = made.labels
            raw_made = self.autoencoder.stats.unstandardise(z)
            return PerturbedLatents(raw_made, labels, weights, kept, images, latents.z, pixels)

    def decoded(self, latents: PerturbedLatents) -> torch.Tensor:
        """Float images (B,C,H,W) of perturbed latents, of the size of their sources; the rest of `perturb`."""
        made = latents.made
        if made is None:
            made = self._images_of(latents.raw, latents.sources, latents.source_z)
        if latents.kept is None:
            return made
        return torch.where(per_sample(latents.kept, made), to_unit_float(latents.sources), made)

    def _images_of(self, raw: torch.Tensor, sources: torch.Tensor, source_z: torch.Tensor) -> torch.Tensor:
        """Raw latents => images, with the residual of the images that they were made from."""
        size = sources.shape[1:]
        made = self.inference.decode(raw, size)
        if self.residual:
            known = self.inference.decode(self.autoencoder.stats.unstandardise(source_z), size)
            lost = to_unit_float(sources) - known
            made = (made + self.residual * lost).clamp(0, 1)
        return made

    def _standardised(self, images: torch.Tensor, labels: torch.Tensor | None, raw: Posterior | None) -> Latents:
        """Standardised latents of images, float32 as the noise and the reference set; encoded unless they are known."""
        # Latents that are compared with a reference set have to be as exact as the reference set is.
        exact = self.policy.needs_reference or self.gate is not None
        mean, std = self.inference.encode(images, exact=exact) if raw is None else raw.sent(self.device)
        stats = self.autoencoder.stats
        posterior_std = None if std is None else (std / stats.std).float()
        return Latents(stats.standardise(mean).float(), posterior_std, labels, stats=stats)

    def _gated(
        self, latents: Latents, images: torch.Tensor, random: SampleRandom, reference: ReferenceSet | None
    ) -> tuple[Latents, torch.Tensor | None, torch.Tensor | None]:
        """What the policy makes of the latents, the weights that the gate gives to that, and the images it decoded."""
        if self.gate is None:
            return self.policy(latents, random, reference), None, None
        if reference is None and self.policy.needs_reference:
            reference = ReferenceSet.of_batch(latents)  # samples that are re-drawn still choose from the whole batch

        def decode(made: Latents, places: torch.Tensor) -> torch.Tensor:
            raw = self.autoencoder.stats.unstandardise(made.z)
            return self._images_of(raw, images[places], latents.z[places])

        return self.gate.choose(
            latents, lambda source, sequences: self.policy(source, sequences, reference), random, decode
        )

    @classmethod
    def from_config(
        cls,
        config: str | Path | dict[str, Any],
        *,
        autoencoder: str | Path | Autoencoder | None = None,
        labels_getter: str | LabelsGetter | None = "default",
        seed: int | None = None,
        precision: str = "fp32",
        ignore_index: int = IGNORED,
        strict: bool = False,
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
            gate=known.gate, precision=precision, ignore_index=ignore_index, strict=strict,
        )  # fmt: skip
        augment.mixing = known.mixing
        if known.statistics is not None:
            augment.restore_statistics(known.statistics)
        model = augment.autoencoder
        known.check_weights(fingerprint(model.state_dict()), augment._name or model.name)
        return augment

    def to_config(self) -> dict[str, Any]:
        """What `from_config` takes, for `json.dump`, with the latent statistics if `fit` took them.

        An `Autoencoder` object has no name to write down: give the same one to `from_config` again. What is still to
        be chosen for a data set is written down as "auto".
        """
        stats, still_open = self.autoencoder.stats, self._name == AUTO
        statistics = stats.values() if bool(stats.fitted) and not self._brought_statistics else None
        sha256 = None if still_open else fingerprint(self.autoencoder.state_dict())
        policy = AUTO if still_open and self._asked_policy is None else str(self.policy)
        known = AugmentConfig(self._name, policy, self.p, sha256, self.residual, self.gate, self.mixing, statistics)
        return known.document()

    @property
    def epoch(self) -> int:
        """The epoch that results depend on when a seed is set."""
        return self._epoch.get()

    def set_epoch(self, epoch: int) -> None:
        """Vary the results of a seeded transform between epochs; reaches loader workers that already run."""
        self._epoch.set(epoch)

    def __repr__(self) -> str:
        """One line: what was asked for."""
        policy = self._asked_policy or AUTO
        more = "" if self._asked_residual is None else f", residual={self._asked_residual}"
        more += "" if self.gate is None else f", gate={self.gate}"
        more += "" if self.ignore_index == IGNORED else f", ignore_index={self.ignore_index}"
        more += ", strict=True" if self._partnerless.strict else ""
        more += "" if self._precision[0] == "fp32" else f", precision={self._precision[0]!r}"
        return f"LatentAugment({self.shown_name!r}, {str(policy)!r}, p={self.p}, seed={self.seed}{more})"

    def _as_batch(self, images: torch.Tensor, label: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """An image with its label, or a batch with its labels, as a checked batch."""
        if images.ndim == 3:
            images, label = images[None], None if label is None else [label]
        labels = _labels_for(images, label)
        check_images(images, self.autoencoder.image_shape, f"LatentAugment with autoencoder {self.shown_name!r}")
        return images, labels

    def _keys(
        self,
        images: torch.Tensor,
        indices: Integers | None = None,
        draw_index: Integers = 0,
        *,
        seed: int | None = None,
        epoch: int | None = None,
    ) -> np.ndarray:
        """One key for each image, uint64 (B,)."""
        seed, epoch = self.seed if seed is None else seed, self.epoch if epoch is None else epoch
        if indices is None:
            indices = np.arange(len(images)) if seed is None else pixel_fingerprints(images)
        return sample_keys(drawn_seed() if seed is None else seed, epoch, indices, draw_index)


def _gradients_of(images: torch.Tensor) -> torch.set_grad_enabled:
    """Gradients only where the images require them."""
    return torch.set_grad_enabled(torch.is_grad_enabled() and images.requires_grad)


def _labels_for(images: torch.Tensor, labels: Any) -> torch.Tensor | None:
    """Labels of any usual type as a tensor with one row an image."""
    labels = None if labels is None else labels_tensor(labels)
    if labels is not None and len(labels) != len(images):
        raise ShapeError(f"got {len(labels)} labels for {len(images)} images; expected one an image")
    return labels


def _put(values: torch.Tensor, rows: torch.Tensor | None, others: torch.Tensor) -> torch.Tensor:
    """Values with others in these rows, or in all of them."""
    return others if rows is None else values.index_copy(0, rows.to(values.device), others)
