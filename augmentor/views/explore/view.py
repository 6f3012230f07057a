"""Settings => everything that the page shows, as tensors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch.utils.data import Subset

from ..._internal.checks import to_uint8
from ..._internal.items import fetch, spread_over_classes
from ..._internal.random import SampleRandom, sample_keys, torch_generator
from ..._internal.registry import describe
from ...autoencoders import Autoencoder, load_autoencoder
from ...autoencoders.pretrained import fitting_autoencoder
from ...data import load_source
from ...latents import Latents, ReferenceSet, class_index, per_sample
from ...policies import LatentPolicy, default_policy, get_policy
from ...quality import GateCounts, QualityGate
from ...transform import LatentAugment
from .settings import Settings

T = TypeVar("T")

# Of larger data sets so many images, chosen at random once and for all, are looked at.
LOOKED = 2000
# A traversal shows the dimensions that change the image most, this far to both sides in standard latents.
DIMENSIONS, STEPS, REACH = 4, 7, 3.0
NEIGHBOURS = 6

PASSED, ORIGINAL_KEPT = "passed", "left alone"


@dataclass(frozen=True)
class View:
    """All images are uint8. n originals, m samples of each; what is looked at closely is one of the samples.

    rows: of the originals in the data set. samples: (m,n,C,H,W); their labels (m,n) or (m,n,K). verdicts: of the
    gate, m lists of n texts: "passed", "left alone", or the questions that a sample failed. scores: by question (m,n),
    to be compared with `limit`. near: the real images nearest to the sample looked at, by the latent of the decoded
    image: rows of the data set, distances, images, labels. traversal: (dimensions, steps, C,H,W) around the original
    of that sample.
    """

    settings: Settings
    total: int
    looked: int
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


class _Data(NamedTuple):
    """A data set, which rows of it are looked at, their labels, and a data set of just those."""

    dataset: Any
    looked: np.ndarray
    labels: torch.Tensor
    source: Any


class Explorer:
    """Makes views, and keeps what is slow to make between them: data, autoencoder, reference set, and what is fitted to it.

    >>> view = Explorer().view(Settings(data="digits", policy="gaussian(std=0.5)", images=4, copies=2))
    >>> view.samples.shape
    torch.Size([2, 4, 1, 8, 8])
    """

    def __init__(self, device: str = "cpu"):
        self.device = device
        self._kept: dict[str, tuple[Any, Any]] = {}

    @torch.no_grad()
    def view(self, settings: Settings) -> View:
        """What these settings show. Raises the errors of whatever reads them."""
        settings = self.resolved(settings)
        data, model, brought, augment = self._augment(settings)
        gate = cast(QualityGate, augment.gate)
        gate.counts = GateCounts()
        rows = _originals(data, settings)
        images, labels = fetch(data.dataset, rows)
        samples, latents, weights = _drawn(augment, images, cast(torch.Tensor, labels), rows, settings)
        sources = Latents(_encoded(model, images).repeat(settings.copies, *[1] * (latents.z.ndim - 1)))
        scores = gate.score(latents, sources).each()
        limit = (1 - gate.keep) / len(scores)

        shape = (settings.copies, len(rows))
        original, copy = min(settings.original, shape[1] - 1), min(settings.copy, shape[0] - 1)
        closely = samples[copy * len(rows) + original][None]
        distances, places = cast(ReferenceSet, augment.reference).nearest(_encoded(model, closely), NEIGHBOURS)
        order = class_index(data.labels).argsort(stable=True)  # a reference set is sorted by class
        near_rows = data.looked[order[places[0].cpu()].numpy()].tolist()
        near_images, near_labels = fetch(data.dataset, near_rows)
        about_image = (self._kept["model"][0], rows[original])  # dragging a slider leaves the traversal as it is
        dimensions, traversal = self._keep("traversal", about_image, lambda: _traversal(model, images[original][None]))
        return View(
            settings=replace(settings, policy=describe(augment.policy, brief=True), original=original, copy=copy),
            total=len(data.dataset), looked=len(data.looked), classes=list(data.dataset.classes),
            rows=rows, images=to_uint8(images), labels=cast(torch.Tensor, labels),
            rebuilt=to_uint8(model(images.to(model.device))).cpu(),
            samples=samples.unflatten(0, shape),
            sample_labels=cast(torch.Tensor, latents.labels).cpu().unflatten(0, shape),
            verdicts=_verdicts(gate, weights, scores, limit, shape),
            scores={name: score.cpu().reshape(shape) for name, score in scores.items()},
            limit=limit, counts=gate.counts,
            near_rows=near_rows, near_distances=distances[0].tolist(), near_images=to_uint8(near_images),
            near_labels=cast(torch.Tensor, near_labels),
            dimensions=dimensions, traversal=traversal,
            config=_config(settings, augment, brought, data),
        )  # fmt: skip

    def resolved(self, settings: Settings) -> Settings:
        """The same with a policy where that is "auto": what suits the latents."""
        if settings.policy != "auto":
            return settings
        _, (model, *_) = self._data_and_model(settings)
        return replace(settings, policy=describe(default_policy(model.latent_shape), brief=True))

    def _data_and_model(self, settings: Settings) -> tuple[_Data, tuple[Autoencoder, bool, ReferenceSet]]:
        about_data = (settings.data, settings.split, settings.size, settings.skip_bad)
        data = self._keep("data", about_data, lambda: _read(*about_data))
        name = autoencoder_of(settings, data.dataset)
        return data, self._keep("model", (*about_data, name), lambda: self._load(name, data))

    def _augment(self, settings: Settings) -> tuple[_Data, Autoencoder, bool, LatentAugment]:
        """The transform, fitted. Each step is made anew only if what it depends on has changed."""
        data, (model, brought, reference) = self._data_and_model(settings)
        about_model = self._kept["model"][0]
        action = "redraw" if settings.redraw else "weigh"
        gate = self._keep(
            "gate",
            (about_model, settings.keep, action),
            lambda: QualityGate(settings.keep, action=action).fit(reference),
        )

        def fitted() -> LatentPolicy:
            policy = get_policy(settings.policy)
            policy.fit(reference)
            return policy

        policy = self._keep("policy", (about_model, settings.policy), fitted)
        augment = LatentAugment(model, policy, residual=settings.residual, gate=gate)
        augment.reference = reference  # with what was fitted above this is `fit`, but for encoding all images once more
        return data, model, brought, augment

    def _load(self, name: str, data: _Data) -> tuple[Autoencoder, bool, ReferenceSet]:
        model = load_autoencoder(name)
        brought = bool(model.stats.fitted)  # before statistics of this data are put into a model without any
        augment = LatentAugment(model.to(self.device)).fit(data.source)
        return model, brought, cast(ReferenceSet, augment.reference)

    def _keep(self, name: str, key: Any, make: Callable[[], T]) -> T:
        """The last one made under this name, if for the same key."""
        if name not in self._kept or self._kept[name][0] != key:
            self._kept[name] = (key, make())
        return self._kept[name][1]


def autoencoder_of(settings: Settings, dataset: Any) -> str:
    """The name or path of the autoencoder, that of "auto" too."""
    if settings.autoencoder != "auto":
        return settings.autoencoder
    return fitting_autoencoder(tuple(fetch(dataset, [0])[0].shape[1:]))


def _read(data: str, split: str, size: int | None, skip_bad: bool) -> _Data:
    dataset: Any = load_source(data, split=split, size=size, skip_bad=skip_bad)
    if len(dataset) <= LOOKED:
        return _Data(dataset, np.arange(len(dataset)), dataset.targets, dataset)
    looked = np.sort(np.random.default_rng(0).choice(len(dataset), LOOKED, replace=False))
    return _Data(dataset, looked, dataset.targets[looked], Subset(dataset, looked.tolist()))


def _originals(data: _Data, settings: Settings) -> list[int]:
    if settings.pick == "random":
        generator = torch_generator("cpu", settings.seed, "explore")
        places = torch.randperm(len(data.looked), generator=generator)[: settings.images]
    else:
        places = spread_over_classes(class_index(data.labels), len(data.looked), settings.images)
    return data.looked[places.numpy()].tolist()


def _drawn(
    augment: LatentAugment, images: torch.Tensor, labels: torch.Tensor, rows: list[int], settings: Settings
) -> tuple[torch.Tensor, Latents, torch.Tensor]:
    """All copies of all originals, copy by copy, as `LatentAugment.synthesize` makes them, with latents and weights."""
    copies = np.repeat(np.arange(settings.copies), len(rows))
    random = SampleRandom(sample_keys(settings.seed, 0, rows * settings.copies, copies), augment.device)
    images = images.repeat(settings.copies, 1, 1, 1)
    labels = labels.repeat(settings.copies, *[1] * (labels.ndim - 1))
    latents = augment.perturb_latents(images, labels, random)
    made = to_uint8(augment.decoded(latents)).cpu()
    z = augment.autoencoder.stats.standardise(latents.raw).float()
    return made, Latents(z, None, latents.labels), cast(torch.Tensor, latents.weights).cpu()


def _encoded(model: Autoencoder, images: torch.Tensor) -> torch.Tensor:
    return model.stats.standardise(model.encode(images.to(model.device)).mean).float()


def _verdicts(
    gate: QualityGate, weights: torch.Tensor, scores: dict[str, torch.Tensor], limit: float, shape: tuple[int, int]
) -> list[list[str]]:
    said = []
    for number, rejected in enumerate(gate.rejected(weights).tolist()):
        failed = [name for name, score in scores.items() if score[number] < limit]
        said.append(ORIGINAL_KEPT if rejected else PASSED if weights[number] == 1 else ", ".join(failed))
    return [said[start : start + shape[1]] for start in range(0, len(said), shape[1])]


def _traversal(model: Autoencoder, image: torch.Tensor) -> tuple[list[int], torch.Tensor]:
    """One dimension (of feature maps, one channel) at a time, those first that change the image most."""
    z, size = _encoded(model, image)[0], (image.shape[-2], image.shape[-1])
    shifts = torch.linspace(-REACH, REACH, STEPS, device=z.device)

    def moved(dimension: int) -> torch.Tensor:
        steps = z.repeat(STEPS, *[1] * z.ndim)
        steps[:, dimension] += per_sample(shifts, steps[:, dimension])
        return model.decode(model.stats.unstandardise(steps), size)

    effect = torch.stack([moved(dimension).std(0).mean() for dimension in range(len(z))])
    dimensions = effect.argsort(descending=True)[:DIMENSIONS].tolist()
    return dimensions, to_uint8(torch.stack([moved(dimension) for dimension in dimensions])).cpu()


def _config(settings: Settings, augment: LatentAugment, brought: bool, data: _Data) -> dict[str, Any]:
    """The policy.json. A gate that only says what it thinks is none, and statistics that weights bring stay there."""
    name = autoencoder_of(settings, data.dataset)
    document = {**augment.to_config(), "autoencoder": str(Path(name).resolve()) if os.path.isfile(name) else name}
    return {
        **document,
        "gate": document["gate"] if settings.redraw else None,
        "statistics": None if brought else document["statistics"],
    }
