"""The verdict on an autoencoder: how well it reconstructs images, compared with baseline reconstructions.

A PSNR is hard to interpret by itself: 20 dB is poor for photographs and good for digits. Therefore it is compared with
that of baseline reconstructions: the mean image, and the image downsampled and upsampled again. In addition, a
classifier is applied to images before and after decoding.
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

# Good: this many decibels above the baselines `quarter` and `same_size`, and this fraction of the recognised images is
# recognised after decoding. Poor: below the fraction, or not above the baselines that `Verdict.word` names.
# benchmarks/results/bad-autoencoders.json contains measurements of good and bad autoencoders.
GOOD_MARGIN = 3.0
# From this PSNR on (a root mean square error of 4.5 levels of 255) the reconstructions are precise enough.
ENOUGH = 35.0
# Upper limit of the PSNR of one image: baselines reproduce blank images exactly, and a few would raise the mean.
_MOST_DB = 40.0
GOOD_RECOGNISED, POOR_RECOGNISED = 0.8, 0.6
# Poor from this distance on, relative to the distance of two different images. For 240 photographs or digits, and for
# the first 8 of them, it is at most 0.93 for good reconstructions, and at least 1.66 for bad ones.
POOR_APART = 1.3
# Lower limit of the distance of two different images, as a fraction of the mean square of features, because images of
# one class may hardly differ. Measured: 0.16 for digits of MNIST of any class, 0.22 to 0.26 for photographs.
_LEAST_APART = 0.15
# Minimum number of recognised images from which a fraction is computed.
_FEWEST = 10
_LEARNT_FROM = 500  # maximum number of images of `training`
_FOLDS = 5
# Large images are cropped to this size in pixels if the autoencoder takes any size: whole ones take seconds each.
_CENTRE = 256

ANY: Size = (None, None, None)


@dataclass(frozen=True)
class Verdict:
    """Result of `assess`.

    psnr_db: mean PSNR of the reconstructions, each at most 40 dB. mean_image, eighth, quarter, same_size: mean PSNR of
    the baseline reconstructions: the mean of the other images; the image downsampled by averaging to an eighth of its
    side, to a quarter of its side, and to as many numbers as the latent has (at most a quarter of the pixels), each
    upsampled again.
    apart: mean squared distance between the independent features of an image and of its reconstruction, relative to
    that of two different images; None for one image, and for other than 1 or 3 channels. recognised: fraction of the
    images recognised by a classifier of independent features that it also recognises after decoding; None without
    labels, or if it recognises too few images. latent_size: number of latent dimensions per image. images: number of
    assessed images.

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
        """The verdict in one word: "poor", "fair" or "good".

        poor, if at least one is true: the PSNR is not above that of every baseline in `mean_image`, `eighth` and
        `same_size`; `apart` is at least 1.3; `recognised` is below 0.6. good: the PSNR is at least 3 dB above `quarter`
        and `same_size`, and `recognised` is at least 0.8. fair: all other cases. Above 35 dB, only `recognised` is
        used. If `apart` or `recognised` is None, its condition does not apply.
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
        """Return the verdict with these `figures()`, or None if they are not those of a verdict."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(figures, dict) or not set(names) <= set(figures):
            return None
        found = {name: figures[name] for name in names}
        needed = [value for name, value in found.items() if name not in _OPTIONAL or value is not None]
        return cls(**found) if all(map(is_number, needed)) else None

    def figures(self) -> dict[str, Any]:
        """Return the word and the values as a dict for JSON."""
        return {"verdict": self.word, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        text = (
            f"{self.word}: reconstructs {self.images} images with a mean PSNR of {self.psnr_db:.1f} dB; baselines: "
            f"mean image {self.mean_image:.1f} dB, downsampled by 8: {self.eighth:.1f} dB, by 4: "
            f"{self.quarter:.1f} dB, to the size of the latent ({self.latent_size} values): {self.same_size:.1f} dB"
        )
        if self.apart is not None:
            text = (
                f"{text}; features of reconstructions differ by {self.apart:.0%} of the difference between two images"
            )
        if self.recognised is None:
            return text
        return f"{text}; of the images that a classifier recognises, it recognises {self.recognised:.0%} after decoding"


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
    """Assess how well an autoencoder reconstructs images.

    autoencoder: maps images (B,C,H,W) to reconstructions, and has ``encode(images).mean``. data: images (N,C,H,W),
    uint8 or floating in [0, 1], or a map-style data set of images or `(image, label)`. Use images that were not used
    for training; the scores of training images are too good. labels: labels of a tensor, int64 (N,) or float (N,K).
    training: a data set of `(image, label)` without images of `data`, to which the classifier is fitted. Default: it is
    cross-fitted on `data`, so each image is classified by a model that was fitted without it. features: the extractor.
    Default: `independent_features`. most: maximum number of images, drawn with `seed`. Raises `DataError` for an empty
    data set and for `training` without labels, and the errors of `autoencoder.encode`.

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
    """Return the verdict on the images of several verdicts together, without `recognised`."""
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
    """Return at most `most` images as floats, and their labels."""
    if len(data) == 0:  # type: ignore[arg-type]
        raise DataError("got no images to reconstruct; expected at least one")
    rows = np.random.Generator(np.random.Philox(fold(seed, "verdict"))).permutation(len(data))[:most]  # type: ignore[arg-type]
    if isinstance(data, torch.Tensor):
        images, labels = data[torch.from_numpy(rows)], None if labels is None else labels[torch.from_numpy(rows)]
    else:
        images, labels = fetch(data, rows.tolist())
    return to_unit_float(centre(images, image_shape)), labels


def centre(images: torch.Tensor, image_shape: Size = ANY) -> torch.Tensor:
    """Crop images (B,C,H,W) to at most 256 pixels per side in the centre.

    image_shape: (C,H,W) of the autoencoder; a side of fixed length is not cropped.
    """
    for axis, wanted in zip((-2, -1), image_shape[1:], strict=True):
        if wanted is None and images.shape[axis] > _CENTRE:
            images = images.narrow(axis, (images.shape[axis] - _CENTRE) // 2, _CENTRE)
    return images


def _mean_psnr(made: torch.Tensor, images: torch.Tensor) -> float:
    return float(psnr(made, images).double().clamp_max(_MOST_DB).mean())


def _apart(real: torch.Tensor, decoded: torch.Tensor) -> float:
    """Return the distance `apart` of features (N,F); the squared distance of two images is twice the variance."""
    least = _LEAST_APART * real.square().sum(1).mean()
    return float((decoded - real).square().sum(1).mean() / torch.maximum(2 * real.var(0).sum(), least).clamp_min(1e-12))


def _averaged(images: torch.Tensor, times: float) -> torch.Tensor:
    """Downsample images by averaging to `times` fewer pixels per side, and upsample them again."""
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
    """Return the fraction of the images recognised by a classifier that it also recognises after decoding.

    The classifier is fitted without these images. real, decoded: features (N,F).
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
            raise DataError("training needs labels, and has none; pass a data set of (image, label), or None")
        before, after = _predicted(extract(extractor, more), label_keys(more_labels.cpu()), real, decoded)
    right, total = (before == keys) & known, float(known.sum())
    chance = float(keys[known].unique(return_counts=True)[1].max()) / total
    certain = chance + 4 * math.sqrt(chance * (1 - chance) / total)
    if right.sum() < _FEWEST or float(right.sum()) / total < certain:
        return None
    return float(((after == keys) & right).sum() / right.sum())


def _cross_fitted(real: torch.Tensor, decoded: torch.Tensor, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Predict classes from features of real and of decoded images, with classifiers fitted without these images."""
    rank = torch.stack([(keys[:row] == key).sum() for row, key in enumerate(keys)])  # distributes each class evenly
    before, after = torch.full_like(keys, -1), torch.full_like(keys, -1)
    for fold_number in rank.unique()[:_FOLDS]:
        held_out = rank % _FOLDS == fold_number
        before[held_out], after[held_out] = _predicted(
            real[~held_out], keys[~held_out], real[held_out], decoded[held_out]
        )
    return before, after


def _predicted(features: torch.Tensor, keys: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    """Fit linear discriminant analysis to features with known classes, and predict the classes of other features."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # imported here: takes 1 s

    classes, counts = keys.unique(return_counts=True)
    known = torch.isin(keys, classes[(classes >= 0) & (counts > 1)])  # one image has no covariance
    if len(keys[known].unique()) < 2:
        return [torch.full((len(other),), -1) for other in others]
    # The covariance is shrunk (Ledoit and Wolf 2004), because there may be fewer images than features.
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features[known], keys[known])
    return [torch.from_numpy(classifier.predict(other)) for other in others]
