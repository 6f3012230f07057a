"""Sets of the GAN benchmark: the training images, and the held-out images that samples are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from augmentor._internal.random import torch_generator
from augmentor.data import ArrayDataset, load_source


@dataclass(frozen=True)
class Draw:
    """Training images, and held-out images of the same kind."""

    train: ArrayDataset
    reference: ArrayDataset


@dataclass(frozen=True)
class GANSet:
    """One set.

    whole: function of a data root and a side in pixels that returns all images. kind: name of all its images.
    pretrained: name of an autoencoder for images of this kind. count: number of training images that a seed draws,
    equally many per class; None for all. side: in pixels.
    """

    whole: Callable[[str, int], Draw]
    kind: str
    pretrained: str
    count: int | None = None
    side: int = 32

    def draw(self, root: str, side: int, seed: int) -> Draw:
        """Return the images of a seed."""
        whole = self.whole(root, side)
        if self.count is None:
            return whole
        order = torch.randperm(len(whole.train), generator=torch_generator("cpu", seed, "drawn"))
        targets, share = whole.train.targets[order], self.count // len(whole.train.classes)
        rows = torch.cat([order[targets == label][:share] for label in range(len(whole.train.classes))])
        return Draw(whole.train.subset(rows), whole.reference)


def digits(root: str, side: int) -> Draw:
    data = load_source("digits")
    return Draw(data.subset(torch.arange(1200)), data.subset(torch.arange(1200, 1797)))


def mnist(root: str, side: int) -> Draw:
    return Draw(*(resized(load_source(f"mnist:{root}", split=split), side) for split in ("train", "test")))


def cifar10(root: str, side: int) -> Draw:
    return Draw(*(load_source(f"{root}/cifar10/{part}", size=side) for part in ("train", "test")))


def clothing(root: str, side: int) -> Draw:
    """Return the images; the same 30 % of each class are held out for every seed."""
    data = load_source(f"{root}/clothing64/train", size=side)
    order = torch.randperm(len(data), generator=torch_generator("cpu", 0, "reference"))
    members = [order[data.targets[order] == label] for label in range(len(data.classes))]
    reference = torch.cat([rows[: round(0.3 * len(rows))] for rows in members])
    train = torch.cat([rows[round(0.3 * len(rows)) :] for rows in members])
    return Draw(data.subset(train), data.subset(reference))


def resized(data: ArrayDataset, side: int) -> ArrayDataset:
    """Resize the images to side x side; each pixel is the mean over the area that it covers."""
    if data.image_shape[1:] == (side, side):
        return data
    parts = [F.interpolate(images.float(), (side, side), mode="area") for images in data.images.split(2000)]
    return ArrayDataset(torch.cat(parts).round().to(torch.uint8), data.targets, data.classes)


# In the order in which they run.
SETS = {
    "mnist-300": GANSet(mnist, "mnist", "mnist", 300, 28),
    "cifar10-1000": GANSet(cifar10, "cifar10", "cifar10", 1000),
    "clothing64": GANSet(clothing, "clothing64", "natural"),
    "mnist-1000": GANSet(mnist, "mnist", "mnist", 1000, 28),
    "cifar10-5000": GANSet(cifar10, "cifar10", "cifar10", 5000),
    "mnist-all": GANSet(mnist, "mnist", "mnist", side=28),
}
# For a short test; not part of the benchmark.
SMOKE = {"digits": GANSet(digits, "digits", "digits", 300, 8)}


def known(name: str) -> GANSet:
    """Return the set of this name."""
    return {**SETS, **SMOKE}[name]
