"""Likelihoods of images given the output of a decoder, and their losses."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..exceptions import InputError

# Standard deviation of a pixel around its reconstruction under the Gaussian likelihood: about 25 of 255 levels.
GAUSSIAN_STD = 0.1


class Likelihood:
    """Distribution of a pixel around the decoder's output (B,C,H,W)."""

    name: ClassVar[str]

    def pixels(self, output: torch.Tensor) -> torch.Tensor:
        """Return the mean, in [0, 1]."""
        raise NotImplementedError

    def loss(self, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood of float images of the same shape, in nats per pixel, up to a constant."""
        raise NotImplementedError


class Bernoulli(Likelihood):
    """Cross-entropy on logits, for nearly black-and-white images."""

    name = "bernoulli"

    def pixels(self, output: torch.Tensor) -> torch.Tensor:
        return output.sigmoid()

    def loss(self, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(output, images)


class Gaussian(Likelihood):
    """Squared error."""

    name = "gaussian"

    def pixels(self, output: torch.Tensor) -> torch.Tensor:
        return output.clamp(0, 1)

    def loss(self, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(output, images) / (2 * GAUSSIAN_STD**2)


class Edges(Likelihood):
    """Absolute error of pixels plus `weight` times that of differences between neighbours, over `scales` scales.

    The squared error is lower for a blurred edge than for a sharp one displaced by a pixel. This loss also compares the
    steepness of edges (gradient difference of Mathieu et al. 2016, "Deep multi-scale video prediction beyond mean
    square error"). Both terms are Laplace likelihoods with the Gaussian's standard deviation. Each scale has half the
    size of the previous one.
    """

    name = "edges"

    def __init__(self, weight: float = 1.0, scales: int = 2):
        if not 0 <= weight < math.inf or not isinstance(scales, int) or not 1 <= scales <= 3:
            raise InputError(f"likelihood edges takes weight >= 0 and 1 to 3 scales, got {weight} and {scales}")
        self.weight, self.scales = weight, scales

    def pixels(self, output: torch.Tensor) -> torch.Tensor:
        return output.clamp(0, 1)

    def loss(self, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        error = output - images
        total = error.abs().mean()
        for scale in range(self.scales):
            error = F.avg_pool2d(error, 2) if scale else error
            steps = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
            total = total + self.weight / self.scales * steps
        return total * math.sqrt(2) / GAUSSIAN_STD


LIKELIHOODS: dict[str, type[Likelihood]] = {member.name: member for member in (Bernoulli, Gaussian, Edges)}
