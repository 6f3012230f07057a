"""`QualityGate`: selection of synthetic samples for training.

The gate computes five scores in two views of a sample. Each is compared with the scores of held-out real samples, so no
threshold has to be chosen for a data set:

    latents  fidelity     similarity to real samples          distance to the k-th nearest real latent
             agreement    agreement with the label            a classifier fitted without the source of the sample
             novelty      not a copy of a real sample         distance to the nearest real latent
    pixels   realism      similarity to real images           distance to the k-th nearest real image's features
             recognition  agreement with the label            a classifier of features of real images

The pixels are those of the output images. Their features come from a network that does not share weights with any
autoencoder, because latents do not show that an autoencoder decodes to blurred or equal images.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from .._internal.random import SampleRandom
from .._internal.registry import describe
from ..exceptions import AugmentorWarning, InputError, ReferenceSetError
from ..latents import Latents, ReferenceSet, per_sample
from .features import Features
from .real_images import RealImages
from .verdict import POOR, Verdict
from .view import View

ACTIONS = ("redraw", "weigh")


@dataclass(frozen=True)
class GateScores:
    """Scores of samples: the fraction of held-out real samples that score the same or worse, float (B,) in [0, 1].

    agreement and recognition are None without labels, realism and recognition without images.

    >>> list(GateScores(torch.ones(2), torch.zeros(2), None).each())
    ['fidelity', 'novelty']
    """

    fidelity: torch.Tensor
    novelty: torch.Tensor
    agreement: torch.Tensor | None = None
    realism: torch.Tensor | None = None
    recognition: torch.Tensor | None = None

    def each(self) -> dict[str, torch.Tensor]:
        """Return the scores that are not None, by name."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: score for name, score in named.items() if score is not None}


@dataclass
class GateCounts:
    """Numbers of samples that a gate has scored in this process.

    samples: requested samples. drawn: scored samples, including redrawn ones. passed: samples that passed in the end
    (with action "redraw" the others were rejected). fidelity, novelty, agreement, realism, recognition: drawn samples
    that failed this check.

    >>> (GateCounts(samples=2, drawn=5, passed=1, novelty=4) + GateCounts(samples=1, drawn=1, passed=1)).drawn
    6
    """

    samples: int = 0
    drawn: int = 0
    passed: int = 0
    fidelity: int = 0
    novelty: int = 0
    agreement: int = 0
    realism: int = 0
    recognition: int = 0

    def __add__(self, other: GateCounts) -> GateCounts:
        return GateCounts(*map(sum, zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    def __str__(self) -> str:
        reasons = [field.name for field in dataclasses.fields(GateScores)]
        failed = ", ".join(f"{getattr(self, name)} {name}" for name in reasons)
        return (
            f"{self.passed} of {self.samples} synthetic samples passed the gate, {self.drawn} drawn (failed: {failed})"
        )


class Chosen(NamedTuple):
    """Output of `QualityGate.choose`: latents, their weights float (B,), and their images (B,C,H,W).

    images: None if the gate decoded nothing; for a rejected sample, the image of its last draw.
    """

    latents: Latents
    weights: torch.Tensor
    images: torch.Tensor | None


class QualityGate:
    """Filter that scores synthetic samples against real ones, and redraws or weights samples with low scores.

    keep: fraction of held-out real samples that would pass all checks, 0 to 1. A sample fails if one of its n scores
        (n = 2 to 5, see `score`) is among the lowest ``(1 - keep) / n`` of held-out real samples. By the union bound,
        at least the fraction `keep` of real samples passes all checks. Values near 1 are lenient; with 1 every sample
        passes. With fewer than 100 real images fewer pass, because a sample that is worse than all of them fails.
    k: fidelity and realism use the distance to the k-th nearest neighbour, as improved precision and recall do
        (Kynkaanniemi et al. 2019).
    redraws: maximum number of times that a failed sample is redrawn, from its own random sequence. If it still fails,
        it is rejected: the original is kept in its place, with weight 0.
    action: "redraw", or "weigh", which draws once, rejects nothing, and gives each sample a weight in [0, 1] that
        increases with its lowest score (for a loss; `LatentAugment.synthesize(return_weights=True)`,
        `AugmentedLoader`).

    `LatentAugment.fit` passes real images to the gate, which then also scores pixels. If only latents are available (a
    `LatentCache`, `fit_latents`), pass their images as ``images=``. Otherwise the gate scores latents only, and a
    warning is given. The features are those of `SmallNetFeatures`. `LatentAugment.fit` also assesses the autoencoder on
    some real images (`assess`). If it is poor for them, realism is 0 for every sample, and a warning gives the scores.
    The assessed images are the output of the transform for unchanged latents; with residual=1 this is the images
    themselves, which are never poor.

    A sample is a copy if it is nearer to a real sample than nearly all real samples are to each other, and not farther
    than the distance by which decoding and encoding typically moves an image.

    Calibrating every score on real samples is conformal anomaly detection (Laxhammar and Falkman 2010). The
    classifier is cross-fitted (`LatentClassifier`). A sample with an ignored label has no class and is rejected.
    Samples between a real sample and a near neighbour of it, such as those of `smote`, often fail for novelty. A label
    (B,K) is compared as a whole. In a large reference set, distances are to the nearest of some candidates
    (`ReferenceSet.nearby`), for real and synthetic samples.

    >>> reference = ReferenceSet(torch.randn(200, 4))
    >>> gate = QualityGate().fit(reference)
    >>> gate.passes(Latents(torch.full((1, 4), 9.0)))
    tensor([False])
    """

    name: ClassVar[str] = "quality_gate"

    def __init__(self, keep: float = 0.95, *, k: int = 3, redraws: int = 3, action: str = "redraw"):
        if not 0 <= keep <= 1:
            raise InputError(f"QualityGate takes keep between 0 and 1, got {keep!r}")
        if type(k) is not int or k < 1 or type(redraws) is not int or redraws < 0:
            raise InputError(f"QualityGate takes integers k >= 1 and redraws >= 0, got {k!r} and {redraws!r}")
        if action not in ACTIONS:
            raise InputError(f"QualityGate takes action 'redraw' or 'weigh', got {action!r}")
        self.keep, self.k, self.redraws, self.action = keep, k, redraws, action
        self._tally: dict[str, int | torch.Tensor] = {}  # summed on the device, read by `counts`
        self._latents: View | None = None
        self._pixels: View | None = None
        self._extractor: Features | None = None
        self._poor = False

    def fit(
        self,
        reference: ReferenceSet,
        real: RealImages | None = None,
        *,
        verdict: Verdict | None = None,
        own_error: torch.Tensor | None = None,
    ) -> QualityGate:
        """Compute the scores of the real samples of a reference set; `ReferenceSetError` for fewer than two samples.

        real: real images, without which pixels are not scored. verdict: that of the autoencoder. own_error: distance in
        standardised latents by which the autoencoder typically moves an image when it decodes and encodes it.
        """
        self._latents, self._pixels, self._extractor = View(reference, self.k, own_error), None, None
        self._poor = verdict is not None and verdict.word == POOR
        if self._poor and self.keep < 1:
            warnings.warn(
                "the gate rejects every sample, because the autoencoder reconstructs these images poorly "
                f"({verdict}); train it on these images, or choose another one",
                AugmentorWarning,
                stacklevel=2,
            )
        if real is not None:
            self._extractor, features = real.extractor, real.features
            self._centre, self._scale = features.mean(0), features.std(0)
            self._scale[self._scale < 1e-6] = torch.inf  # constant features are ignored
            pixels = ReferenceSet((features - self._centre) / self._scale, real.labels)
            self._pixels = View(pixels, self.k)
            # The row in `pixels` of each row of the reference set, to use the classifier of its fold.
            place = reference.order.new_full((max(len(reference), int(reference.order.max()) + 1),), -1)
            place[real.rows.to(place.device)[pixels.order]] = torch.arange(len(pixels), device=place.device)
            self._image_of = place[reference.order]
        return self

    @property
    def judges(self) -> str:
        """The views that are scored, for records: "latents", or "latents and pixels (smallnet)".

        >>> QualityGate().judges
        'latents'
        """
        return "latents" if self._extractor is None else f"latents and pixels ({self._extractor.name})"

    @property
    def judges_pixels(self) -> bool:
        """Whether the gate was fitted to real images, so that it needs the images of samples."""
        return self._pixels is not None

    def score(self, latents: Latents, source: Latents | None = None, images: torch.Tensor | None = None) -> GateScores:
        """Return the scores of synthetic latents.

        source: the real latents that they were made from, if known. images: the output images of these latents, float
        (B,C,H,W); without them pixels are not scored.
        """
        return self._score(latents, None if source is None else self._origin(source), images)

    def passes(
        self, latents: Latents, source: Latents | None = None, images: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return bool (B,): whether no score is among the worst of real samples. Arguments as in `score`."""
        return self.weigh(self.score(latents, source, images)) == 1

    def weigh(self, scores: GateScores) -> torch.Tensor:
        """Return weights, float (B,) in [0, 1]: 1 for samples that pass, else proportional to their lowest score."""
        each = torch.stack(list(scores.each().values()))
        limit = (1 - self.keep) / len(each)
        return (each / limit).clamp_max(1).amin(0) if limit > 0 else torch.ones_like(each[0])

    def rejected(self, weights: torch.Tensor) -> torch.Tensor:
        """Return bool (B,): whether samples with these weights are rejected, so that `choose` keeps the original."""
        return (weights == 0) & (self.action == "redraw")

    def choose(
        self,
        source: Latents,
        draw: Callable[[Latents, SampleRandom], Latents],
        random: SampleRandom,
        decode: Callable[[Latents, torch.Tensor], torch.Tensor] | None = None,
    ) -> Chosen:
        """Return synthetic latents for these sources, their weights (B,), and their images.

        draw: makes latents from sources and their random sequences, as a policy does. Every attempt continues the
        sample's own sequence, so its result does not depend on the other samples. decode: maps latents and the indices
        of their sources, int64 (n,), to output images, float (n,C,H,W); not called by a gate that does not score
        pixels. With action "redraw" a weight is 1 or 0, and a latent with weight 0 is that of the source.
        """
        decode = decode if self.judges_pixels else None
        made, origin = draw(source, random), self._origin(source)
        places = torch.arange(len(source), device=origin.device)
        images = None if decode is None else decode(made, places)
        weight = self._weights(made, origin, images, torch.ones_like(places, dtype=torch.bool))
        if self.action == "redraw":
            weight = (weight == 1).to(weight.dtype)
            for _ in range(self.redraws):
                if weight.device.type == "cpu":  # on other devices the host would wait
                    failed = (weight[places] == 0).nonzero().squeeze(1)
                    if len(failed) == 0:
                        break
                    places, random = places[failed], random.take(failed.numpy())
                again, open_ = draw(source.take(places), random), weight[places] == 0
                others = None if decode is None else decode(again, places)
                passed = (self._weights(again, origin[places], others, open_) == 1).to(weight.dtype)
                made = made.put(places, made.take(places).where(open_, again))
                if images is not None and others is not None:
                    others = torch.where(per_sample(open_, others), others, images[places])
                    images = images.index_copy(0, places, others)
                weight = weight.index_copy(0, places, torch.where(open_, passed, weight[places]))
            rejected = self.rejected(weight)
            made = made.where(rejected if made.kept is None else rejected & ~made.kept, source)
        self._count(samples=len(source), passed=(weight == 1).sum())
        return Chosen(made, weight, images)

    @property
    def counts(self) -> GateCounts:
        """Numbers of samples so far in this process."""
        return GateCounts(**{name: int(number) for name, number in self._tally.items()})

    @counts.setter
    def counts(self, counts: GateCounts) -> None:
        self._tally = dict(dataclasses.asdict(counts))

    def __repr__(self) -> str:
        return describe(self)

    def _origin(self, source: Latents) -> torch.Tensor:
        """Return the row of each real sample in the reference set, or else the nearest row, int64 (B,)."""
        return self._fitted_on(source.z.device).reference.origin(source.z)

    def _score(self, latents: Latents, origin: torch.Tensor | None, images: torch.Tensor | None) -> GateScores:
        near, apart, agrees, _ = self._fitted_on(latents.z.device).place(latents.z, latents.labels, origin)
        if images is None or self._pixels is None or self._extractor is None:
            return GateScores(near, apart, agrees, torch.zeros_like(near) if self._poor else None)
        features = (self._extractor(images.detach()) - self._centre) / self._scale
        seen = self._pixels.place(features, latents.labels, None if origin is None else self._image_of[origin])
        realism = torch.zeros_like(seen.near) if self._poor else seen.near
        return GateScores(near, apart.masked_fill(seen.copy, 0), agrees, realism, seen.agrees)

    def _weights(
        self, made: Latents, origin: torch.Tensor, images: torch.Tensor | None, counted: torch.Tensor
    ) -> torch.Tensor:
        """Return weights (B,). origin: rows of the source samples. counted: bool (B,), which ones to count."""
        scores = self._score(made, origin, images)
        each = scores.each()
        limit = (1 - self.keep) / len(each)
        failed = {name: ((share < limit) & counted).sum() for name, share in each.items()}
        self._count(drawn=counted.sum(), **failed)
        return self.weigh(scores)

    def _count(self, **more: torch.Tensor | int) -> None:
        for name, number in more.items():
            self._tally[name] = self._tally.get(name, 0) + number

    def _fitted_on(self, device: torch.device) -> View:
        """Return the view of latents, after moving all fitted tensors to this device."""
        if self._latents is None:
            raise ReferenceSetError(
                "QualityGate compares samples with real ones and is not fitted; call augment.fit(dataset)"
            )
        if self._pixels is not None and self._extractor is not None and self._centre.device != device:
            self._pixels, self._extractor = self._pixels.to(device), self._extractor.to(device)
            self._centre, self._scale, self._image_of = (
                values.to(device) for values in (self._centre, self._scale, self._image_of)
            )
        self._latents = self._latents.to(device)
        return self._latents
