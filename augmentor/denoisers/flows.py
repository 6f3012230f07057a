"""Latent flows: networks that map noise to latents, trained by flow matching (Lipman et al. 2023).

A network predicts the velocity ``noise - z`` on the straight path ``z_t = (1 - t) * z + t * noise`` from a standard
latent z (t = 0) to standard normal noise (t = 1). Integration of the predicted velocity from t = 1 to 0 generates a
latent. Integration from a latent that was noised up to some t < 1 gives a similar latent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from .._internal.diffusers import installed
from .._internal.registry import create, register
from .._internal.weights import fingerprint
from ..exceptions import InputError
from ..latents import LatentStats, lerp

FLOWS: dict[str, type[LatentFlow]] = {}

# Number of features that encode t.
_TIME_FEATURES = 64
# `UNet2DModel` expects time steps of a diffusion model, 0 to 1000.
_TIME_STEPS = 1000


def register_flow(name: str) -> Callable[[type], type]:
    """Return a class decorator that adds a `LatentFlow` to `FLOWS`; it raises `ValueError` if the name is taken."""
    return register("latent flow", FLOWS, name)


class LatentFlow(nn.Module):
    """Base class of all latent flows. It contains the latent statistics that it was trained with.

    latent_shape: shape of one latent, (D,) or (C, h, w). num_classes: 0 is unconditional. width: width of the hidden
    layers. autoencoder: buffer, SHA-256 of the weights of the autoencoder that it was trained with; initially 0.

    >>> flow = latent_flow((16,), num_classes=10)
    >>> flow(torch.randn(2, 16), torch.tensor([0.1, 0.9]), torch.tensor([3, 7])).shape
    torch.Size([2, 16])
    """

    family: ClassVar[str] = "latent flow"
    name: ClassVar[str]
    autoencoder: torch.Tensor

    def __init__(self, latent_shape: Sequence[int], num_classes: int, width: int):
        super().__init__()
        if min(*latent_shape, width) < 1 or num_classes < 0:
            raise InputError(
                f"a latent flow takes a latent_shape and a width of at least 1 and num_classes of at least 0, "
                f"got {tuple(latent_shape)}, {width} and {num_classes}"
            )
        self.latent_shape, self.num_classes, self.width = tuple(latent_shape), num_classes, width
        self.stats = LatentStats(self.latent_shape)
        self.register_buffer("autoencoder", torch.zeros(32, dtype=torch.uint8))

    @classmethod
    def example(cls, num_classes: int = 0) -> LatentFlow:
        """Return a small instance, for tests and documentation."""
        raise NotImplementedError

    def forward(self, z: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Predict the velocities (B, *L) of noised standardised latents (B, *L) at times (B,) in [0, 1].

        labels: class numbers (B,). Negative numbers, and None, give the unconditional velocity.
        """
        if labels is None:
            labels = torch.full((len(z),), -1, device=z.device)
        return self._velocity(z, t, torch.where(labels < 0, self.num_classes, labels))

    def integrate(
        self,
        z: torch.Tensor,
        labels: torch.Tensor | None,
        *,
        start: float = 1.0,
        steps: int = 50,
        guidance: float = 1.0,
    ) -> torch.Tensor:
        """Integrate the velocity from time `start` to 0 in Euler steps; return standardised latents (B, *L).

        z: noised standardised latents (B, *L), or noise if `start` is 1. steps: number of steps from time 1;
        ``steps * start`` of them are computed, at least one if `start` is above 0. guidance: weight in
        ``unconditional + guidance * (conditional - unconditional)`` (Ho and Salimans 2022); 1 is conditional only.
        """
        count = max(1, round(steps * start)) if start > 0 else 0
        for number in range(count, 0, -1):
            t = z.new_full((len(z),), start * number / count)
            velocity = self(z, t, labels)
            if guidance != 1 and labels is not None:
                velocity = torch.lerp(self(z, t), velocity, guidance)
            z = z - start / count * velocity
        return z

    def take_autoencoder(self, autoencoder: Any) -> None:
        """Copy the latent statistics of the autoencoder, and store the SHA-256 of its weights."""
        self.stats.load_state_dict(autoencoder.stats.state_dict())
        self.autoencoder.copy_(weights_of(autoencoder))

    def check_autoencoder(self, autoencoder: Any) -> None:
        """Raise `InputError` unless the flow was trained on latents of this autoencoder."""
        if not torch.equal(self.autoencoder.cpu(), weights_of(autoencoder)):
            raise InputError(
                f"this latent flow was trained on latents {self.latent_shape} of another autoencoder than the given "
                f"one ({autoencoder.name}, latents {autoencoder.latent_shape}); use the autoencoder of the flow, or "
                "train a flow on latents of the given one: augmentor train-prior DATA --autoencoder NAME"
            )

    def _velocity(self, z: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Predict as `forward`. labels: class numbers (B,), `num_classes` for samples without a class."""
        raise NotImplementedError


def weights_of(autoencoder: Any) -> torch.Tensor:
    """Return the SHA-256 of the weights, uint8 (32,), without the latent statistics, which `fit` may change."""
    weights = {name: value for name, value in autoencoder.state_dict().items() if not name.startswith("stats.")}
    return torch.tensor(list(bytes.fromhex(fingerprint(weights))), dtype=torch.uint8)


def latent_flow(latent_shape: Sequence[int], num_classes: int = 0, width: int | None = None) -> LatentFlow:
    """Return a new flow for latents of this shape: a perceptron for vectors (D,), a U-Net for feature maps (C, h, w).

    >>> latent_flow((16,)).name, latent_flow((8, 7, 7), num_classes=10).name
    ('perceptron', 'unet')
    """
    name = "perceptron" if len(latent_shape) == 1 else "unet"
    sizes = {} if width is None else {"width": width}
    return create("latent flow", FLOWS, name, {"latent_shape": latent_shape, "num_classes": num_classes, **sizes})


@register_flow("perceptron")
class PerceptronFlow(LatentFlow):
    """Flow for latents (D,): residual blocks of two linear layers, with time and class added to each block's input."""

    def __init__(self, latent_shape: Sequence[int], num_classes: int = 0, width: int = 256, blocks: int = 3):
        super().__init__(latent_shape, num_classes, width)
        (size,) = self.latent_shape
        self.blocks = blocks
        self.first = nn.Linear(size, width)
        self.of_time = nn.Sequential(nn.Linear(_TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.of_class = nn.Embedding(num_classes + 1, width)
        self.body = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))

    @classmethod
    def example(cls, num_classes: int = 0) -> PerceptronFlow:
        return cls((5,), num_classes, width=16, blocks=1)

    def _velocity(self, z: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        given = self.of_time(_time_features(t)) + self.of_class(labels)
        hidden = self.first(z)
        for block in self.body:
            hidden = hidden + block(hidden + given)
        return self.last(hidden)


@register_flow("unet")
class UNetFlow(LatentFlow):
    """Flow for latents (C, h, w): the `UNet2DModel` of diffusers with two levels, and attention at the lower one.

    It also takes latents of other sizes than `latent_shape`. Needs the extra `diffusers`.
    """

    def __init__(self, latent_shape: Sequence[int], num_classes: int = 0, width: int = 32):
        super().__init__(latent_shape, num_classes, width)
        channels = self.latent_shape[0]
        self.network: Any = installed("a latent flow of feature maps").UNet2DModel(
            in_channels=channels,
            out_channels=channels,
            block_out_channels=(width, 2 * width),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=math.gcd(8, width),
            attention_head_dim=math.gcd(8, width),
            num_class_embeds=num_classes + 1,
        )

    @classmethod
    def example(cls, num_classes: int = 0) -> UNetFlow:
        return cls((2, 3, 4), num_classes, width=8)

    def _velocity(self, z: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        rows, columns = z.shape[-2:]
        even = F.pad(z, (0, columns % 2, 0, rows % 2), mode="replicate")  # the lower level has half the size
        return self.network(even, _TIME_STEPS * t, class_labels=labels).sample[..., :rows, :columns]


def noised(z: torch.Tensor, noise: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """Return the points at times t, (B,) or one for all, on the paths from standardised latents (B, *L) to noise."""
    return torch.lerp(z, noise, t) if isinstance(t, float) else lerp(z, noise, t)


def _time_features(t: torch.Tensor) -> torch.Tensor:
    """Return sines and cosines (B, 64) of times (B,), at frequencies from 1 to 1000 (Vaswani et al. 2017)."""
    frequencies = torch.logspace(0, 3, _TIME_FEATURES // 2, device=t.device)
    angles = t[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def flow_loss(
    flow: LatentFlow, z: torch.Tensor, labels: torch.Tensor | None, t: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Return the flow matching loss of each sample (B,): mean squared error of the velocity at times t (B,)."""
    velocity = flow(noised(z, noise, t), t, labels)
    return (velocity - (noise - z)).square().flatten(1).mean(1)
