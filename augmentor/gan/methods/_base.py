"""The interface of a training method, which `GANTrainer` uses: its networks, and one training step.

The trainer calls, in this order:

    prepare(feed)                 once, also in a resumed run, which then loads the saved state
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

    The constructor of a member takes its own arguments, `network` and `autoencoder` under these names if it uses them,
    and ``**settings``, from which it makes the `GANSettings` for the base class. It sets `generator`.

    generator: noise (B, latent_dim) and class numbers => images in [0, 1]. It is averaged, sampled, evaluated and
        saved, so it contains everything that sampling needs, and `load_generator` can build it from its arguments.

    >>> get_method("gan(discriminator_steps=2)", image_shape=(1, 8, 8), network="dcgan(width=8)").settings()["method"]
    'gan'
    """

    name: ClassVar[str]
    needs_autoencoder: ClassVar[bool] = False  # whether it cannot be built without an autoencoder
    takes_augmentation: ClassVar[bool] = True  # whether the input of its discriminator is images
    adversarial: ClassVar[bool] = True  # whether it has a discriminator; if not, settings of one are refused
    scores: ClassVar[tuple[str, ...]] = ()  # keys of `measured` that can select the best snapshot; lower is better
    generator: Generator
    feed: Feed
    optimizers: dict[str, torch.optim.Optimizer]

    def __init_subclass__(cls, **keywords: Any):
        """Replace ``**settings`` in the signature of the constructor by the fields of `GANSettings`."""
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
                f"the discriminator of training method {self.name!r} takes no images, so they cannot be augmented; "
                "use augmentation='none' (--augment none)"
            )
        for name in () if self.adversarial else ("loss", "r1_gamma", "r1_every", "discriminator_steps"):
            if getattr(settings, name) != getattr(GANSettings(), name):
                raise InputError(f"training method {self.name!r} has no discriminator; leave out {name}")
        self.lr = settings.lr

    def networks(self) -> dict[str, nn.Module]:
        """Return all networks that are trained, by name; they are saved, restored, and checked for finite weights."""
        raise NotImplementedError

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return new optimisers for `self.optimizers`, by name; they are saved and restored."""
        raise NotImplementedError

    def prepare(self, feed: Feed) -> None:
        """Move to the device, read the data, initialise weights, and raise errors for data that does not fit.

        The result must depend only on the constructor's arguments, the data and the seed. Members call this method
        first: it sets `self.feed` and `self.optimizers`, and gives all processes the same weights.
        """
        self.feed = feed
        for network in self.networks().values():
            network.to(feed.device)
        feed.engine.start_alike(self.networks().values())
        self.optimizers = self.make_optimizers()

    def start_round(self, step: int, averaged: Generator) -> None:
        """Prepare a round. step: its first step. averaged: the average of the generator; do not change it."""

    def step(self, number: int) -> dict[str, torch.Tensor]:
        """Take one step of the generator, and of the other networks; return scalars to log, detached, on the device.

        The guards use `real_sign` and `fake_sign` (mean signs of logits), the progress bar `d_loss` and `g_loss`.
        """
        raise NotImplementedError

    def finish(self, averaged: Generator) -> dict[str, nn.Module]:
        """Return other networks to save as ``NAME.safetensors`` in the folder of the generator, by name."""
        return {}

    def measured(self, averaged: Generator) -> dict[str, float]:
        """Return scores of the averaged generator, for the history."""
        return {}

    def status(self) -> dict[str, float]:
        """Return further values for the history at the end of a round."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Return the settings that must be the same in a resumed run, as JSON."""
        return {"method": self.name, "generator": describe(self.generator), "lr": self.lr}

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to resume: tensors, numbers, strings, and dicts and lists of them."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks().items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        for name, network in self.networks().items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])


def get_method(spec: str | TrainingMethod, **settings: Any) -> TrainingMethod:
    """Return the training method for a string such as ``"gan(discriminator_steps=2)"``.

    spec: the string, or a `TrainingMethod`, which is returned unchanged. settings: fields of `GANSettings`, `network`
    and `autoencoder`; those in the string take precedence. None is ignored, and so are a network or an autoencoder that
    the method does not use. Raises `InputError` for an augmentation that the method does not support,
    `UnknownNameError` for an unknown setting.

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
    """Return the class of the training method for a string.

    >>> method_class("latent-gan(width=32)").needs_autoencoder
    True
    """
    return methods.get(spec.split("(")[0].strip())
