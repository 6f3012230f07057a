"""The contract of what becomes of a GAN's batches before the discriminator sees them.

`real` is called on real images, `fake` on generated ones, in the discriminator's and in the generator's step. What is
done alike to both sides, and lets gradients through, does not leak into what the generator learns (Zhao et al. 2020;
Karras et al. 2020). Random numbers come from the keys of a batch alone.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, ClassVar

import torch

from ..._internal.random import sample_keys
from ..._internal.registry import Registry
from ...exceptions import InputError
from ...transform import LatentAugment
from ..feed import Batch, Feed
from ._probability import FixedP

augmentations: Registry[Augmentation] = Registry("gan augmentation")


class Augmentation:
    """Base, and member "none": images as they are.

    >>> str(get_augmentation("none"))
    'none'
    """

    name: ClassVar[str]
    in_latents: ClassVar[bool] = False  # whether it takes images in [0, 1] only, as an autoencoder does
    adds: ClassVar[bool] = False  # whether `real` gives more images than came
    takes: ClassVar[frozenset[str]] = frozenset()  # arguments that `get_augmentation` may give it beside the text's
    p: FixedP | None = None  # how often, for members that have that

    def prepare(self, feed: Feed) -> None:
        """Move to the run's device, look at its data once; raise here what would raise later."""

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Real images as the discriminator sees them, and their labels; there may be more than came."""
        return batch.images, batch.labels

    def fake(self, batch: Batch) -> torch.Tensor:
        """Generated images as the discriminator sees them, as many as came; differentiable."""
        return batch.images

    def probabilities(self) -> list[FixedP]:
        """What decides how often: none, one, or of a chain one for each member that has one."""
        return [] if self.p is None else [self.p]

    def observe(self, real_sign: torch.Tensor, images: int) -> None:
        """Take note of the mean sign of the discriminator's logits on real images, and how many there were."""
        for p in self.probabilities():
            p.observe(real_sign, images)

    @property
    def watches(self) -> bool:
        """Whether it needs `observe`."""
        return any(p.watches for p in self.probabilities())

    @property
    def needs_signs(self) -> bool:
        """Whether it needs the signs that `observe` is told, so that the loss has to give them a meaning."""
        return any(p.needs_signs for p in self.probabilities())

    def status(self) -> dict[str, float]:
        """What changes while training, for the history."""
        return {"p": self.p.value} if self.p is not None and self.p.watches else {}

    def settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with this one, as JSON."""
        return {"augment": str(self), **({} if self.p is None else {"p": str(self.p)})}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides."""
        return {} if self.p is None else self.p.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if self.p is not None:
            self.p.load_state_dict(state)

    def __str__(self) -> str:
        return self.name


augmentations.register("none")(Augmentation)


class Chain(Augmentation):
    """One after the other, in text form ``"both+diffaugment"``."""

    name = "chain"

    def __init__(self, *members: Augmentation):
        for before, after in pairwise(members):
            if before.adds:
                raise InputError(f"{before}+{after}: {before} adds images, so it comes last; put {after} first")
            if after.in_latents and not before.in_latents:
                raise InputError(
                    f"{before}+{after}: {after} takes images in [0, 1], which {before} leaves; put {after} first"
                )
        self.members = members

    def prepare(self, feed: Feed) -> None:
        for member in self.members:
            member.prepare(feed)

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        for place, member in enumerate(self.members):
            images, labels = member.real(self._own(batch, place))
            batch = batch._replace(images=images, labels=labels)
        return batch.images, batch.labels

    def fake(self, batch: Batch) -> torch.Tensor:
        for place, member in enumerate(self.members):
            batch = batch._replace(images=member.fake(self._own(batch, place)))
        return batch.images

    def probabilities(self) -> list[FixedP]:
        return [p for member in self.members for p in member.probabilities()]

    def status(self) -> dict[str, float]:
        found = [(member, name, value) for member in self.members for name, value in member.status().items()]
        names = [name for _, name, _ in found]
        return {name if names.count(name) == 1 else f"{name}_{member.name}": value for member, name, value in found}

    def settings(self) -> dict[str, Any]:
        return {"augment": str(self), **{f"augment {n}": m.settings() for n, m in enumerate(self.members)}}

    def state_dict(self) -> dict[str, Any]:
        return {str(n): member.state_dict() for n, member in enumerate(self.members)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for n, member in enumerate(self.members):
            member.load_state_dict(state[str(n)])

    def __str__(self) -> str:
        return "+".join(map(str, self.members))

    @staticmethod
    def _own(batch: Batch, place: int) -> Batch:
        """Each member draws from a random sequence of its own."""
        return batch if place == 0 else batch._replace(keys=sample_keys(0, place, batch.keys.view("int64")))


def get_augmentation(
    spec: str | Augmentation, latent_augment: LatentAugment | None = None, **settings: Any
) -> Augmentation:
    """The augmentation that a text such as ``"both"`` or ``"both(p=0.3)+diffaugment"`` describes.

    latent_augment: for the members that need one. settings: arguments of the members that declare to take them (see
    `Augmentation.takes`), where the text does not give them; `InputError` for one that no member takes.

    >>> str(get_augmentation("none"))
    'none'
    """
    if isinstance(spec, Augmentation):
        return spec
    settings = {name: value for name, value in settings.items() if value is not None}
    if unknown := sorted(settings.keys() - {name for part in _parts(spec) for name in _class_of(part).takes}):
        raise InputError(f"augmentation {spec!r} takes no {' and no '.join(unknown)}; leave it out")
    members = [augmentations.build(part, latent_augment=latent_augment, **settings) for part in _parts(spec)]
    return members[0] if len(members) == 1 else Chain(*members)


def needs_autoencoder(spec: str) -> bool:
    """Whether the augmentation of this text works in latent space."""
    return any(_class_of(part).in_latents for part in _parts(spec))


def _class_of(part: str) -> type[Augmentation]:
    return augmentations.get(part.split("(")[0].strip())


def _parts(spec: str) -> list[str]:
    return re.split(r"\+(?=\s*[A-Za-z])", spec)
