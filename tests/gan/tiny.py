"""Tiny parts that the tests of GANs share: pictures, autoencoders, methods, trainers; and what they are compared by."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import torch

from augmentor._internal.random import seeded
from augmentor.autoencoders import Autoencoder, ConvVAE
from augmentor.data import ArrayDataset
from augmentor.gan import GANTrainer, TrainingMethod, get_augmentation, get_method


def pictures(image_shape: tuple[int, int, int] = (1, 8, 8), num_classes: int = 3, count: int = 24) -> ArrayDataset:
    """Random pictures, each class with a brightness of its own."""
    images = torch.randint(0, 128, (count, *image_shape), generator=torch.Generator().manual_seed(0))
    targets = torch.arange(count) % max(1, num_classes)
    images = (images + 40 * targets[:, None, None, None]).to(torch.uint8)
    return ArrayDataset(images, targets, [str(n) for n in range(max(1, num_classes))])


@functools.cache
def _autoencoder(image_shape: tuple[int, int, int]) -> Autoencoder:
    with seeded(0, "autoencoder"):
        model = ConvVAE(image_shape, latent_dim=4, width=4)
    with torch.no_grad():
        model.stats.fit([model.encode(pictures(image_shape, 3).images).mean])
    return model.eval()


def autoencoder(image_shape: tuple[int, int, int] = (1, 8, 8)) -> Autoencoder:
    """One that has seen nothing but the scale of its latents, the same at every call."""
    return copy.deepcopy(_autoencoder(image_shape))


QUICK = {"guided-gan": "guided-gan(refit_steps=3)"}  # by default it spends most of its time there


def method_of(name: str, image_shape: tuple[int, int, int] = (1, 8, 8), num_classes: int = 3, **settings: Any):
    """A training method of tiny networks, on this autoencoder where it takes one."""
    given = {"network": "dcgan(width=4, latent_dim=4)", "lr": 1e-3, "autoencoder": autoencoder(image_shape), **settings}
    return get_method(QUICK.get(name, name), image_shape=image_shape, num_classes=num_classes, **given)


def trainer_of(method: TrainingMethod, **settings: Any) -> GANTrainer:
    """A trainer of a few steps, in rounds of two."""
    return GANTrainer(method, **{"steps": 5, "batch_size": 8, "round_steps": 2, "progress": False, **settings})


def gan(num_classes: int = 0, *, augment: str = "none", latent_augment: Any = None, **settings: Any) -> GANTrainer:
    """A trainer of a plain GAN for (1,8,8); settings are those of the method and of the trainer."""
    names = ("network", "loss", "lr", "r1_gamma", "r1_every", "discriminator_steps")
    of_method = {name: settings.pop(name) for name in names if name in settings}
    augmentation = get_augmentation(augment, latent_augment)
    method = method_of("gan", num_classes=num_classes, augmentation=augmentation, **of_method)
    return trainer_of(method, **{"steps": 3, "batch_size": 16, **settings})


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Whether all weights and buffers are, bit for bit."""
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def flat(images: torch.Tensor) -> torch.Tensor:
    """Features that cost nothing."""
    return images.float().flatten(1)


def content(folder: Path) -> dict[str, bytes]:
    """All files in a folder but TensorBoard's."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "tensorboard"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
