"""Sets of the classification benchmark: the images, the number of labels, and what is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from networks import efficientnet, efficientnet_linear, resnet18
from row import Row
from series import recipes_of_series

from augmentor._internal.random import torch_generator
from augmentor.data import ArrayDataset, load_source
from augmentor.training import Recipe, small_cnn, usual_recipes
from augmentor.training.classifier import Network

# Class sizes of DeepSMOTE for MNIST (Dablain et al. 2021).
DEEP_SMOTE = (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40)
# Policies that the search tries.
OF_CHARACTERS = ("gaussian(std=0.35)", "gaussian(std=0.7)", "gaussian(std=1.0)", "class_gaussian", "smote(k=3)",
                 "interpolate(strength=0.5)", "guided(radius=0.7)")  # fmt: skip
OF_PHOTOGRAPHS = ("smooth(std=0.25)", "smooth(std=0.5)", "smooth(std=0.75)", "smooth(std=1.0)", "gaussian(std=0.5)",
                  "class_gaussian")  # fmt: skip
# Number of unlabelled images for rows that use them.
UNLABELLED = 20_000


@dataclass(frozen=True)
class Draw:
    """Images of one seed: labelled ones to train on, test images, and others whose labels are not used."""

    labelled: ArrayDataset
    test: ArrayDataset
    unlabelled: ArrayDataset | None = None


@dataclass(frozen=True)
class BenchmarkSet:
    """One set of the benchmark.

    draw: function of a data root and a seed. steps: number of steps of each training, at which the first control stops
    gaining (``classification.py --plateau``, on draws that are not reported). own: autoencoder that is trained on the
    labelled images. pretrained: name of one that was trained on all images without labels, or None. latents: rows with
    latent samples; ``--search`` tries the policies `searched` and other uses of the samples for these rows, and the
    rows `also_searched`. found: rows that were best in the search, and others to compare them with. recipes: function
    of an image shape (C,H,W) and a number of classes that returns the standard augmentations. controls: names of the
    recipes to use; () for all. pseudo_labels: whether there are rows that use the unlabelled images. tuned: whether
    there is a row of `tune`. metric: "accuracy" or "macro_recall". lr: learning rate of the classifier. seeds: number
    of reported seeds.
    """

    draw: Callable[[str, int], Draw]
    steps: int
    own: str
    pretrained: str | None = None
    latents: tuple[Row, ...] = ()
    found: tuple[Row, ...] = ()
    searched: tuple[str, ...] = OF_CHARACTERS
    also_searched: tuple[Row, ...] = ()
    recipes: Callable[[Sequence[int], int], dict[str, Recipe]] = usual_recipes
    controls: tuple[str, ...] = ()
    pseudo_labels: bool = False
    tuned: bool = False
    metric: str = "accuracy"
    network: Network = small_cnn
    lr: float = 2e-3
    batch_size: int = 64
    seeds: int = 5

    @property
    def of_pictures(self) -> bool:
        """Whether the standard augmentations of images apply."""
        return self.recipes is usual_recipes


def counted(kind: str, counts: Sequence[int]) -> Callable[[str, int], Draw]:
    """Return a draw of `counts` images per class, different for each seed, and of all test images."""

    def draw(root: str, seed: int) -> Draw:
        train, test = _whole(kind, root)
        order = torch.randperm(len(train), generator=torch_generator("cpu", seed, "labels"))
        rows = torch.cat([order[train.targets[order] == label][:count] for label, count in enumerate(counts)])
        rest = order[~torch.isin(order, rows)][:UNLABELLED]
        return Draw(train.subset(rows), test, train.subset(rest))

    return draw


def digits(root: str, seed: int) -> Draw:
    """Draw 5 of each of scikit-learn's digits; the rest is for testing."""
    data = load_source("digits")
    order = torch.randperm(len(data), generator=torch_generator("cpu", seed, "labels"))
    labelled = torch.cat([order[data.targets[order] == label][:5] for label in range(10)])
    rest = torch.ones(len(data), dtype=torch.bool).index_fill(0, labelled, False)
    return Draw(data.subset(labelled), data.subset(rest), data.subset(rest))


def clothing(root: str, seed: int) -> Draw:
    """Return 70 % of each class for training and 30 % for testing, equal for all seeds, at half size."""
    return _clothes(root, seed, size=32, count=None)


def few_clothes(root: str, seed: int) -> Draw:
    """Draw 20 images per class; the test images are the same 30 % for all seeds. Size 64x64."""
    return _clothes(root, seed, size=64, count=20)


def _clothes(root: str, seed: int, size: int, count: int | None) -> Draw:
    data = load_source(f"{root}/clothing64/train", size=size)
    order = torch.randperm(len(data), generator=torch_generator("cpu", 0, "test"))
    members = [order[data.targets[order] == label] for label in range(len(data.classes))]
    test = torch.cat([rows[: round(0.3 * len(rows))] for rows in members])
    train = [rows[round(0.3 * len(rows)) :] for rows in members]
    if count is not None:
        generator = torch_generator("cpu", seed, "labels")
        train = [rows[torch.randperm(len(rows), generator=generator)[:count]] for rows in train]
    return Draw(data.subset(torch.cat(train)), data.subset(test))


def vowels(root: str, seed: int) -> Draw:
    """Draw 5 series of each of 9 speakers of JapaneseVowels (Kudo, Toyama and Shimbo 1999).

    A series has 12 coefficients by 28 time steps, scaled to 256 levels. Shorter series are extended to 29 steps with
    their last value, and the first 28 are used.
    """
    data = _vowels()
    order = torch.randperm(len(data), generator=torch_generator("cpu", seed, "labels"))
    rows = torch.cat([order[data.targets[order] == label][:5] for label in range(len(data.classes))])
    rest = order[~torch.isin(order, rows)]
    return Draw(data.subset(rows), data.subset(rest), data.subset(rest))


@lru_cache(maxsize=1)
def _vowels() -> ArrayDataset:
    import numpy as np
    from aeon.datasets import load_classification  # pip install aeon

    parts = [load_classification("JapaneseVowels", split=split) for split in ("train", "test")]
    series = [each for values, _ in parts for each in values]
    longest = max(each.shape[1] for each in series)
    values = np.stack([np.pad(each, ((0, 0), (0, longest - each.shape[1])), mode="edge") for each in series])
    classes, labels = np.unique(np.concatenate([names for _, names in parts]), return_inverse=True)
    low, high = (np.percentile(values, part, axis=(0, 2), keepdims=True) for part in (0.5, 99.5))
    levels = np.clip((values - low) / (high - low), 0, 1) * 255
    images = torch.from_numpy(levels).round().to(torch.uint8)[:, None, :, : longest // 4 * 4]
    return ArrayDataset(images, torch.from_numpy(labels), [str(name) for name in classes])


@lru_cache(maxsize=1)
def _whole(kind: str, root: str) -> tuple[ArrayDataset, ArrayDataset]:
    if kind == "mnist":
        return load_source(f"mnist:{root}"), load_source(f"mnist:{root}", split="test")
    return load_source(f"{root}/cifar10/train"), load_source(f"{root}/cifar10/test")


_DIGITS_OWN = "vae(latent_dim=16, width=16, beta=0.5)"
_PHOTOGRAPHS_OWN = "vae(latent_dim=64, width=16, beta=0.3, likelihood='gaussian')"
_OWN = Row(policy="gaussian(std=0.7)", autoencoder="own")
_GAUSSIAN = (_OWN, replace(_OWN, autoencoder="pretrained"))
# The best settings of the search, and a control with the real images of their batches only.
_WEIGHTED = replace(_OWN, autoencoder="pretrained", use="weights")
_HALF = Row(batch_size=32)
_GUIDED = Row(policy="guided(radius=0.7)", autoencoder="pretrained")
# `mnist-prior` has seen all training images without labels; "own-prior" has seen the labelled images only.
_DENOISE = tuple(
    Row(policy=f"denoise('{prior}', strength={strength})", autoencoder="pretrained")
    for prior in ("mnist-prior", "own-prior")
    for strength in (0.15, 0.3, 0.45)
)
_DENOISE_PHOTOGRAPHS = tuple(
    Row(policy="denoise('own-prior', strength=0.3)", autoencoder="pretrained", residual=residual)
    for residual in (0.0, 1.0)
)
# Reconstructions, which show what decoding alone does.
_DECODED = Row(policy="gaussian(std=0)", autoencoder="pretrained")
# Noise in latents without a prior.
_NOISED = replace(_DECODED, policy="gaussian(std=0.5)")
_RESIDUAL = (Row(policy="smooth(std=0.25)", autoencoder="pretrained", residual=1.0),)
_SMOOTH = Row("ColorJitter(0.4), crop and flip", "smooth(std=0.5)", "pretrained")
_UNEQUAL = tuple(f"ColorJitter(0.6), crop and flip, {how}" for how in ("oversampling", "logit adjustment"))
_CONTROLS = ("ColorJitter(0.6), crop and flip", "ColorJitter(0.4), crop and flip", "ColorJitter(0.8), crop and flip",
             "TrivialAugmentWide, crop and flip", "RandAugment, crop and flip",
             "AugMix, crop and flip", "crop and flip", "crop and flip, MixUp", "TrivialAugmentWide",
             "none")  # fmt: skip
_FEW_CONTROLS = ("ColorJitter(0.4), crop and flip", "crop and flip", "none")

MNIST_5 = BenchmarkSet(
    counted("mnist", [5] * 10), steps=1000, own=_DIGITS_OWN, pretrained="mnist", latents=_GAUSSIAN, pseudo_labels=True
)
DIGITS_5 = BenchmarkSet(
    digits, steps=1000, own="vae(latent_dim=8, width=8, beta=0.5)", pretrained="digits", latents=_GAUSSIAN,
    found=(_HALF, _WEIGHTED, replace(_OWN, use="weights"), _GUIDED, replace(_OWN, residual=1.0)), pseudo_labels=True,
)  # fmt: skip
CLOTHING = BenchmarkSet(
    clothing, steps=2500, own=_PHOTOGRAPHS_OWN, pretrained="natural", latents=_RESIDUAL, found=(_SMOOTH,),
    searched=OF_PHOTOGRAPHS, controls=(*_CONTROLS, *_UNEQUAL), metric="macro_recall", seeds=3,
)  # fmt: skip

# In the order in which they run.
SETS = {
    "mnist-5": replace(MNIST_5, found=(_WEIGHTED, _DENOISE[0]), also_searched=_DENOISE),
    "digits-5": DIGITS_5,
    "mnist-10": replace(
        MNIST_5, draw=counted("mnist", [10] * 10), controls=("RandAugment, affine", "AugMix, affine", "affine", "none")
    ),
    "mnist-2": replace(
        MNIST_5, draw=counted("mnist", [2] * 10), latents=(), controls=("RandAugment, affine",), seeds=3
    ),
    "clothing64": CLOTHING,
    "digits-5-resnet18": replace(
        DIGITS_5, latents=_GAUSSIAN[1:], found=(_HALF, _WEIGHTED), network=resnet18, seeds=3,
        controls=("RandAugment, affine", "TrivialAugmentWide, affine", "AugMix, affine", "none"), pseudo_labels=False,
    ),
    "clothing64-20-efficientnet-linear": replace(
        CLOTHING, draw=few_clothes, controls=(*_FEW_CONTROLS, "TrivialAugmentWide, crop and flip"), steps=150,
        network=efficientnet_linear, found=(_DECODED, _NOISED, _DENOISE_PHOTOGRAPHS[0]),
        also_searched=_DENOISE_PHOTOGRAPHS,
    ),
    "clothing64-20-efficientnet": replace(
        CLOTHING, draw=few_clothes, controls=_FEW_CONTROLS, steps=200, network=efficientnet, lr=3e-4, batch_size=32
    ),
    "clothing64-20": replace(CLOTHING, draw=few_clothes, controls=_FEW_CONTROLS, steps=1000),
    "mnist-imbalanced": replace(
        MNIST_5, draw=counted("mnist", DEEP_SMOTE), steps=3000, metric="macro_recall", seeds=3, pseudo_labels=False,
        controls=("RandAugment, affine, oversampling", "RandAugment, affine, logit adjustment",
                  "affine, oversampling", "RandAugment, affine", "none, oversampling", "none"),
    ),
    "mnist-50": replace(
        MNIST_5, draw=counted("mnist", [50] * 10), steps=2000, tuned=True, pseudo_labels=False,
        controls=("RandAugment, affine", "TrivialAugmentWide, affine", "AugMix, affine", "affine", "affine, MixUp",
                  "none"),
    ),
    "cifar10-50": replace(
        CLOTHING, draw=counted("cifar10", [50] * 10), steps=3000, metric="accuracy", tuned=True, seeds=5,
        controls=_CONTROLS,
    ),
    # The standard augmentations of images do not apply to series.
    "vowels-5": BenchmarkSet(
        vowels, steps=1000, own=_DIGITS_OWN, latents=(_OWN,), recipes=recipes_of_series,
        found=(replace(_GUIDED, autoencoder="own"),),
    ),
}  # fmt: skip
