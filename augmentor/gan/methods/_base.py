"""The contract of a training method: what is trained, and how one step goes. `GANTrainer` knows only this.

The trainer calls, in this order:

    prepare(feed)                 once, at a fresh start and at a resume; a resume loads the saved state after it
    start_round(step, averaged)   before the first step of each round
    step(number)                  for 0, 1, ...; batches and random numbers come from `self.feed`
    measured(averaged)            after the last step of each round
    finish(averaged)              once, at the end

Between rounds it evaluates and saves the average of `generator`. docs/gan.md shows a training method in one file.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from torch import nn

from ..._internal.registry import Registry, describe, did_you_mean
from ...exceptions import InputError, UnknownNameError
from ..feed import Feed
from ..networks import Generator
from ._settings import GANSettings

methods: Registry[TrainingMethod] = Registry("training method")


class TrainingMethod:
    """Base of all training methods.

    A member's constructor takes arguments of its own, `network` and `autoencoder` under these names where it has a use
    for them, and ``**settings``, of which it makes the `GANSettings` for this one. It sets `generator`.

    generator: noise (B, latent_dim) and class numbers => images in [0, 1]. It is what is averaged, sampled, evaluated
        and saved, so it holds all that drawing an image takes, and `load_generator` can build it from its arguments.

    >>> get_method("gan(discriminator_steps=2)", image_shape=(1, 8, 8), network="dcgan(width=8)").settings()["method"]
    'gan'
    """

    name: ClassVar[str]
    needs_autoencoder: ClassVar[bool] = False  # whether it cannot be built without one
    takes_augmentation: ClassVar[bool] = True  # whether it shows its discriminator images
    adversarial: ClassVar[bool] = True  # whether it has a discriminator; if not, settings of one are refused
    scores: ClassVar[tuple[str, ...]] = ()  # of what `measured` returns, what can choose the best snapshot: low is good
    generator: Generator
    feed: Feed
    optimizers: dict[str, torch.optim.Optimizer]

    def __init_subclass__(cls, **keywords: Any):
        """Spell out the ``**settings`` of a constructor in its signature, by which texts and messages go."""
        super().__init_subclass__(**keywords)
        _, *own = inspect.signature(cls.__init__).parameters.values()
        if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
            taken = {parameter.name for parameter in own}
            shared = inspect.signature(GANSettings).parameters
            own[-1:] = [parameter for name, parameter in shared.items() if name not in taken]
        cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]

    def __init__(self, settings: GANSettings):
        if not self.takes_augmentation and str(settings.augmentation) != "none":
            raise InputError(
                f"training method {self.name!r} shows its discriminator no images that could be augmented; "
                "use --augment none"
            )
        for name in () if self.adversarial else ("loss", "r1_gamma", "discriminator_steps"):
            if getattr(settings, name) != getattr(GANSettings(), name):
                raise InputError(f"training method {self.name!r} has no discriminator, so leave out {name}")
        self.lr = settings.lr

    def networks(self) -> dict[str, nn.Module]:
        """All networks that training changes, by name; saved and restored, and refused once they are not finite."""
        raise NotImplementedError

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Fresh optimisers for `self.optimizers`, by name; saved and restored."""
        raise NotImplementedError

    def prepare(self, feed: Feed) -> None:
        """Move to the run's device, look at the data, initialise weights; raise here what does not fit.

        All that it does is a function of the constructor's arguments, the data and the seed. Members call this one
        first: it sets `self.feed` and `self.optimizers`, and gives all processes the same weights.
        """
        self.feed = feed
        for network in self.networks().values():
            network.to(feed.device)
        feed.engine.start_alike(self.networks().values())
        self.optimizers = self.make_optimizers()

    def start_round(self, step: int, averaged: Generator) -> None:
        """Before a round whose first step is `step`; `averaged` is the average of the generator, for reading only."""

    def step(self, number: int) -> dict[str, torch.Tensor]:
        """One step of the generator and all that belongs to it => scalars to log, detached, on the device.

        `d_loss`, `g_loss`, `real_sign` and `fake_sign` (mean signs of logits) are what the guards and the bar know.
        """
        raise NotImplementedError

    def finish(self, averaged: Generator) -> dict[str, nn.Module]:
        """Other networks worth keeping, by name: saved as ``NAME.safetensors`` beside the generator."""
        return {}

    def measured(self, averaged: Generator) -> dict[str, float]:
        """What the method itself measures of the averaged generator, for the history."""
        return {}

    def status(self) -> dict[str, float]:
        """What else belongs in the history at the end of a round."""
        return {}

    def settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with this one, as JSON."""
        return {"method": self.name, "generator": describe(self.generator), "lr": self.lr}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs: tensors, numbers, texts, and dicts and lists of them."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks().items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for name, network in self.networks().items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])


def get_method(spec: str | TrainingMethod, **settings: Any) -> TrainingMethod:
    """The training method that a text such as ``"gan(discriminator_steps=2)"`` describes, or one as it is.

    settings: those of `GANSettings`, `network` and `autoencoder`; they are left out where they are None, where the text
    gives them, and where the member has no use for a network or an autoencoder. Raises `InputError` for an augmentation
    that the member has no use for, `UnknownNameError` for a setting that there is not.

    >>> get_method("gan", network="dcgan(width=8)", image_shape=(1, 8, 8), loss="hinge").name
    'gan'
    """
    if isinstance(spec, TrainingMethod):
        return spec
    known = [*inspect.signature(method_class(spec)).parameters, *inspect.signature(GANSettings).parameters]
    for name in settings:
        if name not in (*known, "network", "autoencoder"):
            raise UnknownNameError(f"get_method has no setting {name!r}{did_you_mean(name, dict.fromkeys(known))}")
    return methods.build(spec, **{name: value for name, value in settings.items() if value is not None})


def method_class(spec: str) -> type[TrainingMethod]:
    """The class of the training method that a text describes.

    >>> method_class("latent-gan(width=32)").needs_autoencoder
    True
    """
    return methods.get(spec.split("(")[0].strip())
