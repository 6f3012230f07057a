"""The verdict on an autoencoder: how well it gives these images back, beside what simple codes do.

A figure in decibels means little by itself: 20 dB is poor for photographs and good for digits. So it is compared with
codes that anybody can write down (the mean image, fewer pixels), and a classifier is asked whether it still recognises
what it recognised before.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .._internal.checks import Size, is_number, to_unit_float
from .._internal.datasets import fetch
from .._internal.random import fold
from ..exceptions import DataError
from ..latents import label_keys
from .extractors import independent_features
from .features import Extractor, Images, extract
from .reconstruction import psnr

VERDICTS = POOR, FAIR, GOOD = "poor", "fair", "good"

# Good: so many decibels above images of a quarter of the side and above a simple code of the latent's size, and so much
# of what was recognised still is. Poor: below the share, or no better than such a code.
# benchmarks/results/bad-autoencoders.json has what these separate.
GOOD_MARGIN = 3.0
# From here on (an error of 4.5 levels of 255) PSNR is good enough.
ENOUGH = 35.0
# The PSNR of one image counts as no more: simple codes give a blank image back as it is, and a few would lift the mean.
_MOST_DB = 40.0
GOOD_RECOGNISED, POOR_RECOGNISED = 0.8, 0.6
# Poor from here on, where two different images are 1 apart. Of 240 photographs or digits, and of the first 8 of them,
# good reconstructions are at most 0.93 apart, and bad ones at least 1.66.
POOR_APART = 1.3
# Images of one class may hardly differ: two different ones count as at least so far apart, as a share of the mean
# square of features. Two digits of MNIST, of any class, are 0.16, two photographs 0.22 to 0.26.
_LEAST_APART = 0.15
# A share of fewer recognised images than this says nothing.
_FEWEST = 10
_LEARNT_FROM = 500  # images of `training` at most
_FOLDS = 5
# Of an image of any size this much is looked at, in pixels a side: whole photographs take seconds each.
_CENTRE = 256

ANY: Size = (None, None, None)


@dataclass(frozen=True)
class Verdict:
    """What `assess` found.

    psnr_db: mean over the images of the PSNR of their reconstructions, each 40 dB at most. mean_image, eighth, quarter,
    same_size: the same of simple codes: the mean of the other images; the image averaged down to an eighth and to a
    quarter of its side, and to as many numbers as the latent has (at most a quarter of the pixels), each enlarged
    again.
    apart: the mean squared distance between the independent features of an image and of its reconstruction, where that
    of two different images is 1; None for one image, and for other than 1 or 3 channels. recognised: of the images
    whose class a classifier of independent features recognises, the share that it recognises after decoding; None
    where there are no labels, or where it recognises too few. latent_size: how many numbers the latent of an image has.
    images: how many were looked at.

    >>> Verdict(34.2, 13.8, 18.8, 22.4, 27.2, 0.95, latent_size=768, images=240, apart=0.06).word
    'good'
    """

    psnr_db: float
    mean_image: float
    eighth: float
    quarter: float
    same_size: float
    recognised: float | None
    latent_size: int
    images: int
    apart: float | None

    @property
    def word(self) -> str:
        """poor: no better than the mean image, an eighth of the side or a simple code of the latent's size, or 1.3
        times as far from the images as other images are, or less than 60 % recognised. good: 3 dB above a quarter of
        the side and above a code of the latent's size, and at least 80 % recognised. fair: the others. From 35 dB on
        only what is recognised counts.
        """
        recognised = 1.0 if self.recognised is None else self.recognised
        simple = max(self.mean_image, self.eighth, self.same_size)
        as_far = self.apart is not None and self.apart >= POOR_APART
        if not self.psnr_db > min(simple, ENOUGH) or recognised < POOR_RECOGNISED or (as_far and self.psnr_db < ENOUGH):
            return POOR
        good = (
            self.psnr_db >= min(max(self.quarter, self.same_size) + GOOD_MARGIN, ENOUGH)
            and recognised >= GOOD_RECOGNISED
        )
        return GOOD if good else FAIR

    @classmethod
    def of(cls, figures: Any) -> Verdict | None:
        """The verdict that `figures` gave, or None for what is none."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(figures, dict) or not set(names) <= set(figures):
            return None
        found = {name: figures[name] for name in names}
        needed = [value for name, value in found.items() if name not in _OPTIONAL or value is not None]
        return cls(**found) if all(map(is_number, needed)) else None

    def figures(self) -> dict[str, Any]:
        """JSON values: the word and what it comes from."""
        return {"verdict": self.word, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        text = (
            f"{self.word}: reconstructs {self.images} images with {self.psnr_db:.1f} dB (mean image "
            f"{self.mean_image:.1f}, 8 times fewer pixels a side {self.eighth:.1f}, 4 times {self.quarter:.1f}, as few "
            f"numbers as the latent, {self.latent_size}, {self.same_size:.1f})"
        )
        if self.apart is not None:
            text = f"{text}; looks {self.apart:.0%} as different as another image"
        if self.recognised is None:
            return text
        return f"{text}; a classifier still recognises {self.recognised:.0%} of what it recognised"


_OPTIONAL = ("recognised", "apart")
_DECIBELS = ("psnr_db", "mean_image", "eighth", "quarter", "same_size")


@torch.no_grad()
def assess(
    autoencoder: Any,
    data: Images,
    labels: torch.Tensor | None = None,
    *,
    training: Images | None = None,
    features: Extractor | None = None,
    most: int = 256,
    batch_size: int = 64,
    seed: int = 0,
) -> Verdict:
    """How well an autoencoder reconstructs these images.

    autoencoder: maps images (B,C,H,W) to reconstructions, and has ``encode(images).mean``. data: images (N,C,H,W),
    uint8 or floating in [0, 1], or a map-style data set of images or `(image, label)`; images that it was not trained
    on, since those that it was trained on flatter it. labels: of a tensor, int64 (N,) or float (N,K). training: a data
    set of `(image, label)`, with none of `data` in it, that the classifier learns from; without it the classifier
    learns from `data`, and each image is recognised by one that has not seen it. features: the extractor that the
    classifier looks through, by default `independent_features`. most: so many images at most, drawn with `seed`. Raises
    `DataError` for an empty data set and for `training` without labels, and what `autoencoder.encode` raises.

    >>> from augmentor.autoencoders import load_autoencoder
    >>> from augmentor.data import load_source
    >>> assess(load_autoencoder("digits"), load_source("digits")).word
    'good'
    """
    images, labels = _some(data, labels, most, seed, getattr(autoencoder, "image_shape", ANY))
    device = getattr(autoencoder, "device", images.device)
    rebuilt, count = [], 0
    for part in images.split(batch_size):
        rebuilt.append(autoencoder(part.to(device)).float().to(images.device))
        count = count or autoencoder.encode(part[:1].to(device)).mean[0].numel()
    made = torch.cat(rebuilt)
    channels, height, width = images.shape[1:]
    fewer = max(2.0, math.sqrt(channels * height * width / count))
    seen = None
    if channels in (1, 3):
        extractor = independent_features(images.shape[1:]) if features is None else features
        seen = extract(extractor, images), extract(extractor, made.nan_to_num(0.0).clamp(0, 1))
    others = (images.sum(0) - images) / (len(images) - 1) if len(images) > 1 else images.mean((2, 3), keepdim=True)
    return Verdict(
        psnr_db=_mean_psnr(made, images),
        mean_image=_mean_psnr(others.expand_as(images), images),
        eighth=_mean_psnr(_averaged(images, 8), images),
        quarter=_mean_psnr(_averaged(images, 4), images),
        same_size=_mean_psnr(_averaged(images, fewer), images),
        recognised=None if labels is None or seen is None else _recognised(*seen, labels, training, extractor, seed),
        latent_size=count,
        images=len(images),
        apart=None if seen is None or len(images) < 2 else _apart(*seen),
    )


def pooled(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on the images of several verdicts together, without `recognised`."""
    total = sum(verdict.images for verdict in verdicts)

    def mean(name: str) -> float:
        return sum(getattr(verdict, name) * verdict.images for verdict in verdicts) / total

    decibels = {name: mean(name) for name in _DECIBELS}
    known = [verdict for verdict in verdicts if verdict.apart is not None]
    apart = sum((verdict.apart or 0.0) * verdict.images for verdict in known)
    return Verdict(
        **decibels, recognised=None, latent_size=verdicts[0].latent_size, images=total,
        apart=apart / sum(verdict.images for verdict in known) if known else None,
    )  # fmt: skip


def _some(
    data: Images, labels: torch.Tensor | None, most: int, seed: int, image_shape: Size = ANY
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Float images, at most `most`, and their labels."""
    if len(data) == 0:  # type: ignore[arg-type]
        raise DataError("got no images to reconstruct; expected at least one")
    rows = np.random.Generator(np.random.Philox(fold(seed, "verdict"))).permutation(len(data))[:most]  # type: ignore[arg-type]
    if isinstance(data, torch.Tensor):
        images, labels = data[torch.from_numpy(rows)], None if labels is None else labels[torch.from_numpy(rows)]
    else:
        images, labels = fetch(data, rows.tolist())
    return to_unit_float(centre(images, image_shape)), labels


def centre(images: torch.Tensor, image_shape: Size = ANY) -> torch.Tensor:
    """Of images (B,C,H,W) what is looked at: at most the 256 pixels a side in the middle.

    image_shape: (C,H,W) of the autoencoder; a side that has to be of one length stays whole.
    """
    for axis, wanted in zip((-2, -1), image_shape[1:], strict=True):
        if wanted is None and images.shape[axis] > _CENTRE:
            images = images.narrow(axis, (images.shape[axis] - _CENTRE) // 2, _CENTRE)
    return images


def _mean_psnr(made: torch.Tensor, images: torch.Tensor) -> float:
    return float(psnr(made, images).double().clamp_max(_MOST_DB).mean())


def _apart(real: torch.Tensor, decoded: torch.Tensor) -> float:
    """Features (N,F) of images and of their reconstructions; two different images are twice the variance apart."""
    least = _LEAST_APART * real.square().sum(1).mean()
    return float((decoded - real).square().sum(1).mean() / torch.maximum(2 * real.var(0).sum(), least).clamp_min(1e-12))


def _averaged(images: torch.Tensor, times: float) -> torch.Tensor:
    """Averaged down to so many times fewer pixels a side, and enlarged again."""
    height, width = images.shape[-2:]
    size: Sequence[int] = [max(1, round(side / times)) for side in (height, width)]
    return F.interpolate(F.interpolate(images, size, mode="area"), (height, width), mode="bilinear")


def _recognised(
    real: torch.Tensor,
    decoded: torch.Tensor,
    labels: torch.Tensor,
    training: Images | None,
    extractor: Extractor,
    seed: int,
) -> float | None:
    """Of the images that a classifier recognises which was fitted without them, the share it recognises decoded.

    real, decoded: features (N,F).
    """
    keys = label_keys(labels.cpu())
    known = keys >= 0
    if len(keys[known].unique()) < 2:
        return None
    if training is None:
        before, after = _cross_fitted(real, decoded, keys)
    else:
        more, more_labels = _some(training, None, _LEARNT_FROM, seed)
        if more_labels is None:
            raise DataError("training needs labels, and this data set has none; give one of (image, label), or None")
        before, after = _predicted(extract(extractor, more), label_keys(more_labels.cpu()), real, decoded)
    right, total = (before == keys) & known, float(known.sum())
    chance = float(keys[known].unique(return_counts=True)[1].max()) / total
    certain = chance + 4 * math.sqrt(chance * (1 - chance) / total)
    if right.sum() < _FEWEST or float(right.sum()) / total < certain:
        return None
    return float(((after == keys) & right).sum() / right.sum())


def _cross_fitted(real: torch.Tensor, decoded: torch.Tensor, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes predicted from features of real and of decoded images, by classifiers fitted without these images."""
    rank = torch.stack([(keys[:row] == key).sum() for row, key in enumerate(keys)])  # deals each class out evenly
    before, after = torch.full_like(keys, -1), torch.full_like(keys, -1)
    for fold_number in rank.unique()[:_FOLDS]:
        held_out = rank % _FOLDS == fold_number
        before[held_out], after[held_out] = _predicted(
            real[~held_out], keys[~held_out], real[held_out], decoded[held_out]
        )
    return before, after


def _predicted(features: torch.Tensor, keys: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    """Classes that linear discriminant analysis, fitted on features of known class, sees in other features."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # imported when used: a second

    classes, counts = keys.unique(return_counts=True)
    known = torch.isin(keys, classes[(classes >= 0) & (counts > 1)])  # one image has no covariance
    if len(keys[known].unique()) < 2:
        return [torch.full((len(other),), -1) for other in others]
    # With as few images as features the covariance is shrunk as Ledoit and Wolf (2004) do.
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features[known], keys[known])
    return [torch.from_numpy(classifier.predict(other)) for other in others]
