"""The interface of augmentations of the inputs of a GAN's discriminator.

`real` is called on real images, `fake` on generated ones, in the discriminator's and in the generator's step. If both
apply the same differentiable operation, the generator does not learn to imitate it (Zhao et al. 2020; Karras et al.
2020). Random numbers come only from the keys of a batch.
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
    """Base class, and the augmentation "none", which returns images unchanged.

    >>> str(get_augmentation("none"))
    'none'
    """

    name: ClassVar[str]
    in_latents: ClassVar[bool] = False  # whether images must be in [0, 1], as for an autoencoder
    adds: ClassVar[bool] = False  # whether `real` returns more images than it is given
    takes: ClassVar[frozenset[str]] = frozenset()  # names of the `settings` of `get_augmentation` that it accepts
    p: FixedP | None = None  # probability of augmenting an image, for members that have one

    def prepare(self, feed: Feed) -> None:
        """Move the augmentation to the device and check the data of the run.

        Errors are raised here and not during training.
        """

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the augmented real images and their labels; there can be more images than in the batch."""
        return batch.images, batch.labels

    def fake(self, batch: Batch) -> torch.Tensor:
        """Return the augmented generated images, as many as in the batch; differentiable."""
        return batch.images

    def probabilities(self) -> list[FixedP]:
        """Return the probabilities: none or one; for a chain, one for each member that has one."""
        return [] if self.p is None else [self.p]

    def observe(self, real_sign: torch.Tensor, images: int) -> None:
        """Update the probabilities: real_sign, the mean sign of the logits of real images; images, their number."""
        for p in self.probabilities():
            p.observe(real_sign, images)

    @property
    def watches(self) -> bool:
        """Whether it needs `observe`."""
        return any(p.watches for p in self.probabilities())

    @property
    def needs_signs(self) -> bool:
        """Whether it uses the signs given to `observe`, so that the loss must have meaningful signs."""
        return any(p.needs_signs for p in self.probabilities())

    def status(self) -> dict[str, float]:
        """Return the values that change during training, for the history."""
        return {"p": self.p.value} if self.p is not None and self.p.watches else {}

    def settings(self) -> dict[str, Any]:
        """Return the settings that must be the same in a resumed run, as JSON."""
        return {"augment": str(self), **({} if self.p is None else {"p": str(self.p)})}

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to resume."""
        return {} if self.p is None else self.p.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        if self.p is not None:
            self.p.load_state_dict(state)

    def __str__(self) -> str:
        return self.name


augmentations.register("none")(Augmentation)


class Chain(Augmentation):
    """Several augmentations in sequence, described by a string such as ``"both+diffaugment"``."""

    name = "chain"

    def __init__(self, *members: Augmentation):
        for before, after in pairwise(members):
            if before.adds:
                raise InputError(f"{before}+{after}: {before} adds images, so it must come last; put {after} first")
            if after.in_latents and not before.in_latents:
                raise InputError(
                    f"{before}+{after}: {after} takes images in [0, 1], and {before} returns other values; "
                    f"put {after} first"
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
        """Return the batch with random sequences of its own for the member at this place."""
        return batch if place == 0 else batch._replace(keys=sample_keys(0, place, batch.keys.view("int64")))


def get_augmentation(
    spec: str | Augmentation, latent_augment: LatentAugment | None = None, **settings: Any
) -> Augmentation:
    """Return the augmentation for a string such as ``"both"`` or ``"both(p=0.3)+diffaugment"``.

    spec: the string, or an `Augmentation`, which is returned unchanged. latent_augment: needed by "both" and "real".
    settings: arguments of the members that accept them (see `Augmentation.takes`); those in the string take precedence,
    and None is ignored. Raises `InputError` for a setting that no member accepts.

    >>> str(get_augmentation("none"))
    'none'
    """
    if isinstance(spec, Augmentation):
        return spec
    settings = {name: value for name, value in settings.items() if value is not None}
    if unknown := sorted(settings.keys() - {name for part in _parts(spec) for name in _class_of(part).takes}):
        raise InputError(f"augmentation {spec!r} takes no {' and no '.join(unknown)}; remove {', '.join(unknown)}")
    members = [augmentations.build(part, latent_augment=latent_augment, **settings) for part in _parts(spec)]
    return members[0] if len(members) == 1 else Chain(*members)


def needs_autoencoder(spec: str) -> bool:
    """Return whether the augmentation for this string works in latent space."""
    return any(_class_of(part).in_latents for part in _parts(spec))


def _class_of(part: str) -> type[Augmentation]:
    return augmentations.get(part.split("(")[0].strip())


def _parts(spec: str) -> list[str]:
    return re.split(r"\+(?=\s*[A-Za-z])", spec)
