"""`QualityGate`: which synthetic samples are worth training on.

Three scores of standard latents, computed before anything is decoded. Each is compared with the scores of held-out
real samples, so no threshold has to be chosen for a data set:

    fidelity    is it where real samples are?       distance to the k-th nearest real latent
    agreement   does it still look like its label?  a classifier that has not seen the sample it was made from
    novelty     is it more than a copy?             distance to the nearest real latent
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from .._internal.random import SampleRandom
from .._internal.registry import describe
from ..exceptions import InputError, ReferenceSetError
from ..latents import SAME, Latents, ReferenceSet

# Synthetic samples are compared with at most this many real samples, at equal steps through the reference set.
_HELD_OUT = 2000
ACTIONS = ("redraw", "weigh")


@dataclass(frozen=True)
class GateScores:
    """For each sample the share of held-out real samples that do no better: float (B,) in [0, 1], 0 the worst.

    agreement is None where nothing is labelled.

    >>> list(GateScores(torch.ones(2), torch.zeros(2), None).each())
    ['fidelity', 'novelty']
    """

    fidelity: torch.Tensor
    novelty: torch.Tensor
    agreement: torch.Tensor | None

    def each(self) -> dict[str, torch.Tensor]:
        """The scores that there are, by name."""
        named = {"fidelity": self.fidelity, "novelty": self.novelty, "agreement": self.agreement}
        return {name: score for name, score in named.items() if score is not None}


@dataclass
class GateCounts:
    """What a gate has done in this process.

    samples: asked for. drawn: latents scored, re-draws included. passed: samples that passed in the end; the others
    were rejected. fidelity, novelty, agreement: how many of the drawn failed for that reason.

    >>> GateCounts(samples=2, drawn=5, passed=1, novelty=4) + GateCounts(samples=1, drawn=1, passed=1)
    GateCounts(samples=3, drawn=6, passed=2, fidelity=0, novelty=4, agreement=0)
    """

    samples: int = 0
    drawn: int = 0
    passed: int = 0
    fidelity: int = 0
    novelty: int = 0
    agreement: int = 0

    def __add__(self, other: GateCounts) -> GateCounts:
        return GateCounts(*map(sum, zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    def __str__(self) -> str:
        return (
            f"{self.passed} of {self.samples} synthetic samples passed the gate, {self.drawn} drawn "
            f"(failed: {self.fidelity} fidelity, {self.novelty} novelty, {self.agreement} agreement)"
        )


class QualityGate:
    """Scores synthetic samples against real ones, and re-draws or weighs those that fall short.

    keep: the share of held-out real samples that would pass all checks, 0 to 1 (each check may turn away
        ``(1 - keep) / 3`` of them, the union bound): the nearer to 1, the more lenient, and 1 lets everything pass.
    k: which neighbour measures fidelity, as in improved precision and recall (Kynkaanniemi et al. 2019).
    redraws: how often a sample that fails is drawn again, from its own random sequence. One that still fails is
        rejected: the original is kept in its place, with weight 0.
    action: "redraw", or "weigh", which draws once, rejects nothing, and gives each sample a weight in [0, 1] that
        falls with its lowest score (for a loss; `LatentAugment.synthesize(return_weights=True)`, `AugmentedLoader`).

    Calibrating every score on real samples is conformal anomaly detection (Laxhammar and Falkman 2010). The
    classifier is cross-fitted (`LatentClassifier`). With few real samples held-out ones differ much from each other,
    and so the gate is lenient where it cannot know. Samples between a real one and a near neighbour of it, such as
    those of `smote`, often fail for novelty. A label (B,K) is compared as a whole. In a large reference set distances
    are to the nearest of some candidates (`ReferenceSet.nearby`), for real samples and synthetic ones alike.

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
            raise InputError(f"QualityGate takes whole numbers k >= 1 and redraws >= 0, got {k!r} and {redraws!r}")
        if action not in ACTIONS:
            raise InputError(f"QualityGate takes action 'redraw' or 'weigh', got {action!r}")
        self.keep, self.k, self.redraws, self.action = keep, k, redraws, action
        self._tally: dict[str, int | torch.Tensor] = {}  # added up on the device, looked at by `counts`
        self._reference: ReferenceSet | None = None
        self._real: dict[str, torch.Tensor] = {}  # ascending raw scores of held-out real samples

    def fit(self, reference: ReferenceSet) -> QualityGate:
        """Take the scores of real samples from a reference set; `ReferenceSetError` for fewer than two samples."""
        if len(reference) < 2:
            raise ReferenceSetError(
                f"QualityGate compares real samples with each other, and the reference set has {len(reference)}"
            )
        self._reference = reference
        rows = torch.arange(0, len(reference), -(-len(reference) // _HELD_OUT), device=reference.z.device)
        distance, _ = reference.nearby(reference.z[rows], self._neighbour(reference) + 1, rows)
        others = distance[:, 1:]  # the first is the sample itself
        labels = reference.labels[rows] if reference.labelled else None
        raw = _raw(others, reference, reference.z[rows], labels, rows)
        if labels is not None and "agreement" in raw:
            raw["agreement"] = raw["agreement"][labels >= 0]
        self._real = {name: values.sort().values for name, values in raw.items()}
        return self

    def score(self, latents: Latents, source: Latents | None = None) -> GateScores:
        """Scores of synthetic latents. source: the real ones they were made from, where that is known."""
        return self._score(latents, None if source is None else self._origin(source))

    def passes(self, latents: Latents, source: Latents | None = None) -> torch.Tensor:
        """Bool (B,): whether no score is among the worst of real samples."""
        return self.weigh(self.score(latents, source)) == 1

    def weigh(self, scores: GateScores) -> torch.Tensor:
        """Float (B,) in [0, 1]: 1 for samples that pass, and less the lower their lowest score."""
        each = torch.stack(list(scores.each().values()))
        limit = (1 - self.keep) / len(each)
        return (each / limit).clamp_max(1).amin(0) if limit > 0 else torch.ones_like(each[0])

    def rejected(self, weights: torch.Tensor) -> torch.Tensor:
        """Bool (B,): which samples of these weights are rejected, so that `choose` keeps the original."""
        return (weights == 0) & (self.action == "redraw")

    def choose(
        self, source: Latents, draw: Callable[[Latents, SampleRandom], Latents], random: SampleRandom
    ) -> tuple[Latents, torch.Tensor]:
        """Synthetic latents for these sources, and their weights (B,).

        draw: makes latents from sources and their random sequences, as a policy does. Every attempt continues the
        sample's own sequence, so its result does not depend on the other samples. When samples are re-drawn, a weight
        is 1 or 0, and where it is 0 the latent is the source's own.
        """
        made, origin = draw(source, random), self._origin(source)
        weight = self._weights(made, origin, torch.ones(len(source), dtype=torch.bool, device=origin.device))
        if self.action == "redraw":
            weight = (weight == 1).to(weight.dtype)
            places = torch.arange(len(source), device=weight.device)
            for _ in range(self.redraws):
                if weight.device.type == "cpu":  # elsewhere the host would have to wait
                    failed = (weight[places] == 0).nonzero().squeeze(1)
                    if len(failed) == 0:
                        break
                    places, random = places[failed], random.take(failed.numpy())
                again, open_ = draw(source.take(places), random), weight[places] == 0
                passed = (self._weights(again, origin[places], open_) == 1).to(weight.dtype)
                made = made.put(places, made.take(places).where(open_, again))
                weight = weight.index_copy(0, places, torch.where(open_, passed, weight[places]))
            rejected = self.rejected(weight)
            made = made.where(rejected if made.kept is None else rejected & ~made.kept, source)
        self._count(samples=len(source), passed=(weight == 1).sum())
        return made, weight

    @property
    def counts(self) -> GateCounts:
        """What it has done so far in this process."""
        return GateCounts(**{name: int(number) for name, number in self._tally.items()})

    @counts.setter
    def counts(self, counts: GateCounts) -> None:
        self._tally = dict(dataclasses.asdict(counts))

    def __repr__(self) -> str:
        return describe(self)

    def _origin(self, source: Latents) -> torch.Tensor:
        """For each real sample the row of the reference set that it is, or else is nearest to, int64 (B,)."""
        return self._reference_on(source.z.device).origin(source.z)

    def _score(self, latents: Latents, origin: torch.Tensor | None) -> GateScores:
        reference = self._reference_on(latents.z.device)
        distance, near = reference.nearby(latents.z, self._neighbour(reference), origin)
        raw = _raw(distance, reference, latents.z, latents.labels, near[:, 0] if origin is None else origin)
        shares = {name: _share(self._real[name], values) for name, values in raw.items() if name in self._real}
        # A copy is not novel even where the reference set holds copies too.
        shares["novelty"] = shares["novelty"].masked_fill(distance[:, 0] < SAME, 0)
        return GateScores(shares["fidelity"], shares["novelty"], shares.get("agreement"))

    def _weights(self, made: Latents, origin: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """Weights (B,). origin: rows that they were made from. counted: bool (B,), which ones to count."""
        scores = self._score(made, origin)
        each = scores.each()
        limit = (1 - self.keep) / len(each)
        failed = {name: ((share < limit) & counted).sum() for name, share in each.items()}
        self._count(drawn=counted.sum(), **failed)
        return self.weigh(scores)

    def _count(self, **more: torch.Tensor | int) -> None:
        for name, number in more.items():
            self._tally[name] = self._tally.get(name, 0) + number

    def _reference_on(self, device: torch.device) -> ReferenceSet:
        if self._reference is None:
            raise ReferenceSetError(
                "QualityGate compares with real samples, and has seen none; call augment.fit(dataset)"
            )
        self._reference = self._reference.to(device)
        self._real = {name: values.to(device) for name, values in self._real.items()}
        return self._reference

    def _neighbour(self, reference: ReferenceSet) -> int:
        return min(self.k, len(reference) - 1)


def _raw(
    distance: torch.Tensor, reference: ReferenceSet, z: torch.Tensor, labels: torch.Tensor | None, rows: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Scores of which more is better, (B,) each. distance: (B,k), ascending. rows: (B,), that they were made from."""
    raw = {"fidelity": -distance[:, -1], "novelty": distance[:, 0]}
    if labels is not None and reference.classifier is not None:
        raw["agreement"] = reference.classifier.agreement(z, labels, reference.classifier.folds[rows])
    return raw


def _share(real: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Share of the real samples, ascending, that have no more than each value; none for NaN."""
    return torch.searchsorted(real, values.contiguous(), right=True).masked_fill(values.isnan(), 0) / len(real)
