"""`LatentAugment`: a torchvision transform that encodes, perturbs and decodes images.

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
    """Transform that replaces each image, with probability `p`, by the decoding of its perturbed latent.

    It accepts one image (in a transform pipeline) or a batch (after the loader, on the device), which is much faster.
    Images are PIL without transparent pixels, numpy (H,W) or (H,W,C), `tv_tensors.Image`, or tensors (C,H,W) or
    (B,C,H,W), uint8 or floating in [0, 1]; apply `v2.Normalize` after it. The output has the type, shape, dtype and
    device of the input. Labels are found as by `v2.MixUp` and change only if the policy mixes classes: then they become
    float (B,K).

    autoencoder: a name from `list_autoencoders()`, the path of a `.safetensors` file or of the folder of the run that
        trained it, or an `Autoencoder`. It is frozen and stays in eval mode, even if the model that contains the
        transform calls `.train()`. ``"auto"`` selects an autoencoder for the first data passed to `fit`, `MixedDataset`
        or `generate_shards`: the pretrained one with the smallest latent that takes these images and does not
        reconstruct them poorly, otherwise ``"natural"``. Without such data it is ``"natural"``.
    policy: a string such as ``"gaussian(std=0.5)"`` (see `list_policies()`) or a `LatentPolicy`; ``"auto"`` is
        `default_policy` of the shape of the latents.
    p: probability that an image is replaced, 0 to 1. Only the selected images are encoded and decoded. `MixedDataset`,
        `AugmentedLoader` and shards perturb every synthetic sample and accept only 1 or the default 0.5 as `p`.
    labels_getter: ``"default"`` (torchvision's convention), a callable that takes the sample, or None.
    seed: None draws a new number in every call from torch's default generator (in a loader worker, that of the
        worker), so that `torch.manual_seed` reproduces a run. With a number, the result depends only on (seed, epoch,
        image): the same image gives the same result in any batch, worker or process. Call `set_epoch` to vary it
        between epochs. Exception: a policy that needs reference samples and is not fitted takes them from the batch.
    residual: fraction of the reconstruction error that is added back to the output, 0 to 1. With 1, the output is the
        image plus the change that the perturbation causes in the decoded image, so the image stays sharp. This requires
        a second decoding. If lines move, as in digits, the old line remains partly visible. ``"auto"`` is 0 if
        the verdict of the autoencoder on images that it was not trained on (`Autoencoder.verdict`) is "good" or
        unknown, and 1 otherwise.
    gate: a `QualityGate` that scores every perturbed latent and its decoded image. If all draws for an image are
        rejected, the original image is kept. The gate must be fitted on real images first: call `fit`.
    precision: precision and memory layout of the autoencoder. "fp32" runs the network unchanged and gives the same
        result in every process. "auto" measures the speed (0.5 seconds, once per kind of device) and selects the
        fastest of float32 and bfloat16 in both memory layouts; bfloat16 is selected only if the PSNR of decoded images
        against float32 is at least 45 dB. "bf16" or a string such as "bf16+channels_last" selects a plan. See `plan`.
    compile: whether the autoencoder is run through `torch.compile`; useful for batches of constant size.
    ignore_index: class number that means "no label", as in `torch.nn.CrossEntropyLoss`. Negative numbers and rows of
        zeros in labels (B,K) always mean "no label". A policy that combines samples keeps these images unchanged and
        does not use them as reference samples.
    strict: whether to raise `ReferenceSetError` if a policy that combines samples finds no partner (a reference sample
        with the same label) for an image: in a batch of one without a reference set, in a class of one image, or for a
        set of labels (B,K) that no other image has. If False, the image is kept unchanged and counted in `unchanged`,
        with one warning. If no image is labelled, all images count as one class.

    Policies can move content in the image. Samples with bounding boxes, masks or keypoints (`tv_tensors`) therefore
    raise `InputError`, unless the policy keeps the geometry, as "smooth" does on feature maps. As for any torchvision
    transform, `state_dict` is empty: `to_config` stores the settings and the name of the autoencoder.

    Gradients flow to the input if it requires them. Raises `ShapeError`, `RangeError` or `InputError` for invalid
    images or labels, `DeviceError` for CUDA inside a loader worker.

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
        """Augment a sample or a batch in any structure that torchvision transforms accept; return the same structure.

        A dict of lists, as passed by `with_transform` of Hugging Face `datasets`, is a batch. Inside `torch.compile`
        this call breaks the graph.
        """
        # Labels that are not used may have any type (classes of boxes, regression targets).
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
        """Perturb each image with probability `p` and keep the others unchanged.

        Arguments are those of `perturb`. Returned images have the dtype and device of the input. p: replaces the
        transform's `p`.
        """
        if self.gate is not None and self.gate.action == "weigh":
            raise InputError(
                "the gate has action='weigh', but a transform cannot return weights; use action='redraw', "
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
        if kept is not None:  # float64 images lost precision in float32
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
        """Return one synthetic sample per image (B,C,H,W), independent of `p`; with labels if labels are passed.

        images: uint8 or floating in [0, 1]. labels: int64 (B,) or float (B,K). indices: indices of the samples in their
        data set. With a seed, the result depends only on (seed, epoch, index, draw index); without `indices`, a hash of
        the pixels replaces the index. draw_index: number of the synthetic version of a sample, one for all or one per
        sample. seed, epoch: replace those of the transform. raw: latents of the images, if known (``cache[indices]`` of
        a `LatentCache`); then nothing is encoded. return_weights: also return the weights of the gate, float (B,) in
        [0, 1]. The weight is 0 for a rejected sample, whose image is the original. Without a gate all weights are 1.

        Returns images with the shape, dtype and device of the input, or a tuple of images, labels (if passed) and
        weights (if requested). Labels are the passed ones, or float (B,K) if the policy mixes classes. Raises
        `ShapeError` if there are not as many labels or indices as images, and the errors of the transform.

        >>> augment = LatentAugment("digits", seed=0)
        >>> images, labels = augment.synthesize(torch.rand(4, 1, 8, 8), torch.arange(4))
        >>> images.shape, labels
        (torch.Size([4, 1, 8, 8]), tensor([0, 1, 2, 3]))
        """
        images = image_to_tensor(images)
        keys = self._keys(images, indices, draw_index, seed=seed, epoch=epoch)
        if len(keys) != len(images):
            raise ShapeError(f"got {len(keys)} indices or draw indices for {len(images)} images; expected 1 per image")
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
        """Encode, perturb and decode images (B,C,H,W); return float images of that shape on the autoencoder's device.

        labels: int64 (B,), float (B,K) or None. random: one sequence per result. rows: images to perturb, int64 (n,),
        all by default; the other images of the batch can still be reference samples. raw: raw latents of the images, if
        known; then nothing is encoded.
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
        """Run `perturb` without the decoder: encode, standardise, perturb, apply the gate, convert to raw latents."""
        self._settle(images if raw is None else None)
        in_batch = self.reference is None and self.policy.needs_reference and len(images) > 1
        if rows is not None and not in_batch:  # the other images are not used
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
        """Decode perturbed latents to float images (B,C,H,W) of the size of their source images."""
        made = latents.made
        if made is None:
            made = self._images_of(latents.raw, latents.sources, latents.source_z)
        if latents.kept is None:
            return made
        return torch.where(per_sample(latents.kept, made), to_unit_float(latents.sources), made)

    def _images_of(self, raw: torch.Tensor, sources: torch.Tensor, source_z: torch.Tensor) -> torch.Tensor:
        """Decode raw latents and add the residual of their source images."""
        size = sources.shape[1:]
        made = self.inference.decode(raw, size)
        if self.residual:
            known = self.inference.decode(self.autoencoder.stats.unstandardise(source_z), size)
            lost = to_unit_float(sources) - known
            made = (made + self.residual * lost).clamp(0, 1)
        return made

    def _standardised(self, images: torch.Tensor, labels: torch.Tensor | None, raw: Posterior | None) -> Latents:
        """Return standardised float32 latents of images; encode the images if `raw` is None."""
        # Latents that are compared with a reference set need the same precision as the reference set.
        exact = self.policy.needs_reference or self.gate is not None
        mean, std = self.inference.encode(images, exact=exact) if raw is None else raw.sent(self.device)
        stats = self.autoencoder.stats
        posterior_std = None if std is None else (std / stats.std).float()
        return Latents(stats.standardise(mean).float(), posterior_std, labels, stats=stats)

    def _gated(
        self, latents: Latents, images: torch.Tensor, random: SampleRandom, reference: ReferenceSet | None
    ) -> tuple[Latents, torch.Tensor | None, torch.Tensor | None]:
        """Return the latents perturbed by the policy, their gate weights and the images that the gate decoded."""
        if self.gate is None:
            return self.policy(latents, random, reference), None, None
        if reference is None and self.policy.needs_reference:
            reference = ReferenceSet.of_batch(latents)  # redrawn samples still use the whole batch

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
        """Return the transform that a ``policy.json`` (written by `augmentor tune`) or an equal dict describes.

        config: path of the file, or the dict. autoencoder: the autoencoder of the document, if its path has changed or
        it has no name, as for an adapted model. Latent statistics in the document are restored to it. labels_getter,
        seed, precision, ignore_index, strict: as in `LatentAugment`; the document does not contain them.

        If `needs_fit` is true, call `fit` on your data. Raises `InputError` for an invalid document, `WeightsError` if
        the document was made with another autoencoder.

        >>> LatentAugment.from_config({"autoencoder": "digits", "policy": "gaussian(std=0.25)"}, seed=0).policy
        gaussian(std=0.25)
        """
        known = AugmentConfig.read(config, {"gate": QualityGate, "mixing": Mixing})
        source = known.autoencoder if autoencoder is None else autoencoder
        if source is None:
            raise InputError(
                "the config contains no autoencoder name, because the autoencoder was an object; pass this object as "
                "autoencoder="
            )
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
        """Return the settings as a dict for `json.dump` and `from_config`, with latent statistics if `fit` set them.

        An `Autoencoder` object has no name to store: pass the same object to `from_config`. Settings that are not yet
        chosen for a data set are stored as "auto".
        """
        stats, still_open = self.autoencoder.stats, self._name == AUTO
        statistics = stats.values() if bool(stats.fitted) and not self._brought_statistics else None
        sha256 = None if still_open else fingerprint(self.autoencoder.state_dict())
        policy = AUTO if still_open and self._asked_policy is None else str(self.policy)
        known = AugmentConfig(self._name, policy, self.p, sha256, self.residual, self.gate, self.mixing, statistics)
        return known.document()

    @property
    def epoch(self) -> int:
        """Return the epoch, on which results depend if a seed is set."""
        return self._epoch.get()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, to vary the results of a seeded transform; also in loader workers that already run."""
        self._epoch.set(epoch)

    def __repr__(self) -> str:
        """Return the requested settings in one line."""
        policy = self._asked_policy or AUTO
        more = "" if self._asked_residual is None else f", residual={self._asked_residual}"
        more += "" if self.gate is None else f", gate={self.gate}"
        more += "" if self.ignore_index == IGNORED else f", ignore_index={self.ignore_index}"
        more += ", strict=True" if self._partnerless.strict else ""
        more += "" if self._precision[0] == "fp32" else f", precision={self._precision[0]!r}"
        return f"LatentAugment({self.shown_name!r}, {str(policy)!r}, p={self.p}, seed={self.seed}{more})"

    def _as_batch(self, images: torch.Tensor, label: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Check an image with its label, or a batch with its labels, and return it as a batch."""
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
        """Return one key per image, uint64 (B,)."""
        seed, epoch = self.seed if seed is None else seed, self.epoch if epoch is None else epoch
        if indices is None:
            indices = np.arange(len(images)) if seed is None else pixel_fingerprints(images)
        return sample_keys(drawn_seed() if seed is None else seed, epoch, indices, draw_index)


def _gradients_of(images: torch.Tensor) -> torch.set_grad_enabled:
    """Enable gradients only if the images require them."""
    return torch.set_grad_enabled(torch.is_grad_enabled() and images.requires_grad)


def _labels_for(images: torch.Tensor, labels: Any) -> torch.Tensor | None:
    """Convert labels of any usual type to a tensor with one row per image."""
    labels = None if labels is None else labels_tensor(labels)
    if labels is not None and len(labels) != len(images):
        raise ShapeError(f"got {len(labels)} labels for {len(images)} images; expected 1 per image")
    return labels


def _put(values: torch.Tensor, rows: torch.Tensor | None, others: torch.Tensor) -> torch.Tensor:
    """Return values with `others` in these rows; None means all rows."""
    return others if rows is None else values.index_copy(0, rows.to(values.device), others)
