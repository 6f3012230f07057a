"""The sets of the classification benchmark: which images are labelled, what measures them, what encodes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from augmentor._internal.random import torch_generator
from augmentor.data import ArrayDataset, load_source

# DeepSMOTE's counts for MNIST (Dablain et al. 2021).
DEEP_SMOTE = (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40)
# Exponential, as usual for CIFAR-10-LT (Cui et al. 2019), within the 1,500 images a class at hand.
LONG_TAIL = tuple(round(1500 * 100 ** (-label / 9)) for label in range(10))

# So many images without labels are at hand where a row may use any.
UNLABELLED = 20_000


@dataclass(frozen=True)
class Draw:
    """What one seed has: labelled images to train on, images to test on, and others whose labels are not looked at."""

    labelled: ArrayDataset
    test: ArrayDataset
    unlabelled: ArrayDataset | None = None

    @property
    def balanced(self) -> bool:
        return len(self.labelled.targets.bincount().unique()) == 1


@dataclass(frozen=True)
class Tuning:
    """What decides the work of a `tune`: seconds, steps and folds of each run, steps of a fold's own autoencoder."""

    budget: float = 300
    steps: int = 100
    folds: int = 3
    autoencoder_steps: int = 300


@dataclass(frozen=True)
class BenchmarkSet:
    """One set.

    draw: of a data root and a seed. metric: "accuracy" or "macro_recall". own: the autoencoder to train on the
    labelled images. unlabelled: a pretrained one by name, or None where all images are labelled.
    flip: whether a mirrored image is of the same class. network: "small", or "pooled", which ends in a global average.
    two_races: whether `tune` is asked for the best without geometry and on top of it, and not for the best of both.
    tune: what decides its work. rows: only these.
    """

    draw: Callable[[str, int], Draw]
    own: str
    unlabelled: str | None = None
    metric: str = "accuracy"
    seeds: int = 3
    flip: bool = False
    network: str = "small"
    two_races: bool = False
    tune: Tuning = Tuning()
    rows: tuple[str, ...] | None = None


def counted(kind: str, counts: Sequence[int]) -> Callable[[str, int], Draw]:
    """As many images of each class as `counts` says, others for each seed; all test images."""

    def draw(root: str, seed: int) -> Draw:
        train, test = _whole(kind, root)
        order = torch.randperm(len(train), generator=torch_generator("cpu", seed, "labels"))
        rows = torch.cat([order[train.targets[order] == label][:count] for label, count in enumerate(counts)])
        rest = order[~torch.isin(order, rows)][:UNLABELLED]
        return Draw(train.subset(rows), test, train.subset(rest))

    return draw


def digits(root: str, seed: int) -> Draw:
    """5 of each of scikit-learn's digits; the rest to test on."""
    data = load_source("digits")
    order = torch.randperm(len(data), generator=torch_generator("cpu", seed, "labels"))
    labelled = torch.cat([order[data.targets[order] == label][:5] for label in range(10)])
    rest = torch.ones(len(data), dtype=torch.bool).index_fill(0, labelled, False)
    return Draw(data.subset(labelled), data.subset(rest), data.subset(rest))


def clothing(root: str, seed: int) -> Draw:
    """The same 70 % of each class for every seed, and the same 30 % to test on; halved in size, for two cores."""
    data = load_source(f"{root}/clothing64/train", size=32)
    order = torch.randperm(len(data), generator=torch_generator("cpu", 0, "test"))
    members = [order[data.targets[order] == label] for label in range(len(data.classes))]
    test = torch.cat([rows[: round(0.3 * len(rows))] for rows in members])
    train = torch.cat([rows[round(0.3 * len(rows)) :] for rows in members])
    return Draw(data.subset(train), data.subset(test))


@lru_cache(maxsize=1)
def _whole(kind: str, root: str) -> tuple[ArrayDataset, ArrayDataset]:
    if kind == "mnist":
        return load_source(f"mnist:{root}"), load_source(f"mnist:{root}", split="test")
    return load_source(f"{root}/cifar10/train"), load_source(f"{root}/cifar10/test")


def _mnist(
    counts: Sequence[int], metric: str = "accuracy", rows: tuple[str, ...] | None = None, network: str = "small",
    two_races: bool = False, tune: Tuning = Tuning(),
) -> BenchmarkSet:  # fmt: skip
    return BenchmarkSet(
        counted("mnist", counts),
        own="vae(latent_dim=16, width=16, beta=0.5)",
        unlabelled="mnist",
        metric=metric,
        seeds=5,
        network=network,
        two_races=two_races,
        tune=tune,
        rows=rows,
    )


def _cifar10(counts: Sequence[int], metric: str = "accuracy", *, tune: Tuning) -> BenchmarkSet:
    return BenchmarkSet(
        counted("cifar10", counts),
        own="vae(latent_dim=64, width=16, beta=0.3, likelihood='gaussian')",
        unlabelled="cifar10",
        metric=metric,
        flip=True,
        tune=tune,
    )


# At 100 steps it is often not to be seen yet what augmentation will do after 500.
LATE = Tuning(steps=250)
# As many steps as the rows have.
AS_LONG = Tuning(budget=900, steps=500)

# In the order of work: what the acceptance of the package rests on comes first.
SETS = {
    "mnist-5": _mnist([5] * 10, two_races=True, tune=replace(LATE, budget=600)),
    "mnist-10": _mnist([10] * 10, two_races=True),
    "mnist-imbalanced": _mnist(DEEP_SMOTE, "macro_recall"),
    "mnist-20": _mnist([20] * 10, rows=("none",)),
    "mnist-5-pooled": _mnist([5] * 10, network="pooled", two_races=True, tune=LATE),
    "mnist-10-pooled": _mnist([10] * 10, network="pooled", two_races=True, tune=LATE),
    "mnist-20-pooled": _mnist([20] * 10, rows=("none",), network="pooled"),
    "cifar10-50": _cifar10([50] * 10, tune=AS_LONG),
    "clothing64": BenchmarkSet(
        clothing,
        own="vae(latent_dim=64, width=16, beta=0.3, likelihood='gaussian')",
        metric="macro_recall",
        flip=True,
        tune=AS_LONG,
    ),
    "mnist-50": _mnist([50] * 10, tune=LATE),
    "cifar10-longtail": _cifar10(LONG_TAIL, "macro_recall", tune=replace(LATE, budget=600)),
    "cifar10-250": _cifar10([250] * 10, tune=replace(LATE, budget=600)),
}
# A smoke test in seconds, not part of the benchmark.
SMOKE = {"digits-5": BenchmarkSet(digits, own="vae(latent_dim=8, width=8, beta=0.5)", unlabelled="digits", seeds=1)}
