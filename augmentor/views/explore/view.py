"""Computation of everything that the page shows, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Subset

from ..._internal.checks import to_uint8
from ..._internal.datasets import fetch, spread_over_classes
from ..._internal.random import SampleRandom, sample_keys, torch_generator
from ..._internal.registry import describe
from ...autoencoders import Autoencoder, load_autoencoder
from ...autoencoders.pretrained import fitting_autoencoder, full_name
from ...data import load_source
from ...latents import Latents, ReferenceSet, class_index, per_sample
from ...policies import LatentPolicy, default_policy, get_policy
from ...quality import GateCounts, QualityGate, Verdict, assess
from ...transform import LatentAugment
from .settings import Settings

# Larger data sets are reduced to this number of images, selected at random with a fixed seed.
LOOKED = 2000
# A traversal shows the dimensions that change the image most, from -REACH to +REACH in standardised latents.
DIMENSIONS, STEPS, REACH = 4, 7, 3.0
NEIGHBOURS = 6

PASSED, ORIGINAL_KEPT = "passed", "original kept"


@dataclass(frozen=True)
class View:
    """Displayed values: n originals, m samples per original, and details of one selected sample. All images are uint8.

    total, selected: number of images of the data set, and of those that are used. rows: indices of the originals in the
    data set. samples: (m,n,C,H,W), with labels (m,n) or (m,n,K). verdicts: m lists of n strings from the gate:
    "passed", "original kept", or the failed checks. scores: (m,n) per check, compared with `limit`. near: the real
    images nearest to the selected sample, by the latent of the decoded image: rows of the data set, distances, images,
    labels. traversal: (dimensions, steps, C,H,W) around the original of that sample. verdict: assessment of the
    autoencoder on these images.
    """

    settings: Settings
    total: int
    selected: int
    classes: list[str]
    rows: list[int]
    images: torch.Tensor
    labels: torch.Tensor
    rebuilt: torch.Tensor
    samples: torch.Tensor
    sample_labels: torch.Tensor
    verdicts: list[list[str]]
    scores: dict[str, torch.Tensor]
    limit: float
    counts: GateCounts
    near_rows: list[int]
    near_distances: list[float]
    near_images: torch.Tensor
    near_labels: torch.Tensor
    dimensions: list[int]
    traversal: torch.Tensor
    config: dict[str, Any]
    family: str
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class _Data:
    """A data set, the rows of it that are used, their labels, and a data set of only these rows."""

    dataset: Any
    selected: np.ndarray
    labels: torch.Tensor
    source: Any

    def fetch(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and labels of these rows."""
        images, labels = fetch(self.dataset, rows)
        return images, cast(torch.Tensor, labels)


@dataclass(frozen=True, eq=False)
class _Model:
    """An autoencoder, whether its weights include latent statistics, the reference set of the data, and the verdict."""

    autoencoder: Autoencoder
    brought_statistics: bool
    reference: ReferenceSet
    verdict: Verdict

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images to standardised latents."""
        model = self.autoencoder
        return model.stats.standardise(model.encode(images.to(model.device)).mean).float()


class Explorer:
    """Computes views; keeps the slow parts between views: data, autoencoder, reference set, fitted policy and gate.

    >>> view = Explorer().view(Settings(data="digits", policy="gaussian(std=0.5)", images=4, copies=2))
    >>> view.samples.shape
    torch.Size([2, 4, 1, 8, 8])
    """

    def __init__(self, device: str = "cpu"):
        self.device = device
        last = lru_cache(maxsize=1)  # recomputed only for new arguments
        self._read, self._load, self._policy, self._gate = last(_read), last(_load), last(_policy), last(_gate)
        self._traversal = last(_traversal)

    @torch.no_grad()
    def view(self, settings: Settings) -> View:
        """Return the view of these settings. Raises the errors of the functions that use them."""
        settings = self.resolved(settings)
        data, model = self._data_and_model(settings)
        gate = self._gate(model, data, settings.residual)
        gate.keep, gate.action, gate.counts = settings.keep, "redraw" if settings.redraw else "weigh", GateCounts()
        policy = self._policy(model, settings.policy)
        augment = LatentAugment(model.autoencoder, policy, residual=cast(float, settings.residual), gate=gate)
        augment.reference = model.reference  # with `_policy` and `_gate`, this replaces `fit`, which would encode again
        rows = _originals(data, settings)
        images, labels = data.fetch(rows)
        shape = (settings.copies, len(rows))
        original, copy = min(settings.original, shape[1] - 1), min(settings.copy, shape[0] - 1)
        made, latents, weights = _drawn(augment, images, labels, rows, settings)
        samples = to_uint8(made).cpu()
        sources = Latents(model.encode(images).repeat(settings.copies, *[1] * (latents.z.ndim - 1)))
        scores = gate.score(latents, sources, made).each()
        limit = (1 - gate.keep) / len(scores)
        dimensions, traversal = self._traversal(model, data, rows[original])
        return View(
            settings=replace(settings, policy=describe(policy, brief=True), original=original, copy=copy),
            total=len(data.dataset), selected=len(data.selected), classes=list(data.dataset.classes), rows=rows,
            images=to_uint8(images), labels=labels,
            rebuilt=to_uint8(model.autoencoder(images.to(augment.device))).cpu(),
            samples=samples.unflatten(0, shape),
            sample_labels=cast(torch.Tensor, latents.labels).cpu().unflatten(0, shape),
            verdicts=_verdicts(gate, weights, scores, limit, shape), limit=limit, counts=gate.counts,
            scores={name: score.cpu().reshape(shape) for name, score in scores.items()},
            **_near(data, model, samples[copy * len(rows) + original][None]),
            dimensions=dimensions, traversal=traversal, config=_config(settings, augment, model, data),
            family=model.autoencoder.name, verdict=model.verdict,
        )  # fmt: skip

    def resolved(self, settings: Settings) -> Settings:
        """Return the settings with the policy and the residual that "auto" and None select."""
        if settings.policy != "auto" and settings.residual is not None:
            return settings
        _, model = self._data_and_model(settings)
        policy = settings.policy
        if policy == "auto":
            policy = describe(default_policy(model.autoencoder.latent_shape), brief=True)
        residual = LatentAugment(model.autoencoder).residual if settings.residual is None else settings.residual
        return replace(settings, policy=policy, residual=residual)

    def _data_and_model(self, settings: Settings) -> tuple[_Data, _Model]:
        data = self._read(settings.data, settings.split, settings.size)
        return data, self._load(data, _autoencoder_of(settings, data), self.device)


def _read(source: str, split: str, size: int | None) -> _Data:
    dataset: Any = load_source(source, split=split, size=size)
    if len(dataset) <= LOOKED:
        return _Data(dataset, np.arange(len(dataset)), dataset.targets, dataset)
    selected = np.sort(np.random.default_rng(0).choice(len(dataset), LOOKED, replace=False))
    return _Data(dataset, selected, dataset.targets[selected], Subset(dataset, selected.tolist()))


def _autoencoder_of(settings: Settings, data: _Data) -> str:
    """Return the name or path of the autoencoder, also for "auto"."""
    if settings.autoencoder != "auto":
        return settings.autoencoder
    return fitting_autoencoder(data.fetch(data.selected[:64].tolist())[0])


def _load(data: _Data, name: str, device: str) -> _Model:
    autoencoder = load_autoencoder(name)
    brought = bool(autoencoder.stats.fitted)  # before `fit` adds statistics of this data
    augment = LatentAugment(autoencoder.to(device)).fit(data.source)
    return _Model(autoencoder, brought, cast(ReferenceSet, augment.reference), assess(autoencoder, data.source))


def _policy(model: _Model, text: str) -> LatentPolicy:
    policy = get_policy(text)
    policy.fit(model.reference)
    return policy


def _gate(model: _Model, data: _Data, residual: float) -> QualityGate:
    gate = QualityGate()
    LatentAugment(model.autoencoder, residual=residual, gate=gate).fit_reference(model.reference, images=data.source)
    return gate


def _originals(data: _Data, settings: Settings) -> list[int]:
    if settings.pick == "random":
        generator = torch_generator("cpu", settings.seed, "explore")
        places = torch.randperm(len(data.selected), generator=generator)[: settings.images]
    else:
        places = spread_over_classes(class_index(data.labels), len(data.selected), settings.images)
    return data.selected[places.numpy()].tolist()


def _drawn(
    augment: LatentAugment, images: torch.Tensor, labels: torch.Tensor, rows: list[int], settings: Settings
) -> tuple[torch.Tensor, Latents, torch.Tensor]:
    """Make all samples, copy by copy, as `LatentAugment.synthesize` does; return them with latents and weights."""
    copies = np.repeat(np.arange(settings.copies), len(rows))
    random = SampleRandom(sample_keys(settings.seed, 0, rows * settings.copies, copies), augment.device)
    images = images.repeat(settings.copies, 1, 1, 1)
    labels = labels.repeat(settings.copies, *[1] * (labels.ndim - 1))
    latents = augment.perturb_latents(images, labels, random)
    made = augment.decoded(latents)
    z = augment.autoencoder.stats.standardise(latents.raw).float()
    return made, Latents(z, None, latents.labels), cast(torch.Tensor, latents.weights).cpu()


def _verdicts(
    gate: QualityGate, weights: torch.Tensor, scores: dict[str, torch.Tensor], limit: float, shape: tuple[int, int]
) -> list[list[str]]:
    said = []
    for number, rejected in enumerate(gate.rejected(weights).tolist()):
        failed = [name for name, score in scores.items() if score[number] < limit]
        said.append(ORIGINAL_KEPT if rejected else PASSED if weights[number] == 1 else ", ".join(failed))
    return np.reshape(said, shape).tolist()


def _near(data: _Data, model: _Model, sample: torch.Tensor) -> dict[str, Any]:
    """Return the fields ``near_...`` of a view for one sample (1,C,H,W)."""
    distances, places = model.reference.nearest(model.encode(sample), NEIGHBOURS)
    order = class_index(data.labels).argsort(stable=True)  # a reference set is sorted by class
    rows = data.selected[order[places[0].cpu()].numpy()].tolist()
    images, labels = data.fetch(rows)
    return {"near_rows": rows, "near_distances": distances[0].tolist(), "near_images": to_uint8(images),
            "near_labels": labels}  # fmt: skip


def _traversal(model: _Model, data: _Data, row: int) -> tuple[list[int], torch.Tensor]:
    """Vary one dimension (channel of feature maps) at a time; the dimensions that change the image most come first."""
    image, autoencoder = data.fetch([row])[0], model.autoencoder
    z, size = model.encode(image)[0], (image.shape[-2], image.shape[-1])
    shifts = torch.linspace(-REACH, REACH, STEPS, device=z.device)

    def moved(dimension: int) -> torch.Tensor:
        steps = z.repeat(STEPS, *[1] * z.ndim)
        steps[:, dimension] += per_sample(shifts, steps[:, dimension])
        return autoencoder.decode(autoencoder.stats.unstandardise(steps), size)

    effect = torch.stack([moved(dimension).std(0).mean() for dimension in range(len(z))])
    dimensions = effect.argsort(descending=True)[:DIMENSIONS].tolist()
    return dimensions, to_uint8(torch.stack([moved(dimension) for dimension in dimensions])).cpu()


def _config(settings: Settings, augment: LatentAugment, model: _Model, data: _Data) -> dict[str, Any]:
    """Return the policy.json, without a gate that does not redraw, and without statistics that the weights include."""
    name, document = _autoencoder_of(settings, data), augment.to_config()
    return {
        **document,
        "autoencoder": full_name(name),
        "gate": document["gate"] if settings.redraw else None,
        "statistics": None if model.brought_statistics else document["statistics"],
    }
