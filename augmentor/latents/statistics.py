"""Statistics that convert raw latents to standardised latents and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from ..exceptions import ShapeError


class LatentStats(nn.Module):
    """Mean and standard deviation of raw latents, which convert raw latents to standardised latents and back.

    >>> stats = LatentStats(latent_shape=(16,))
    >>> raw = torch.randn(8, 16)
    >>> torch.allclose(stats.unstandardise(stats.standardise(raw)), raw)
    True
    """

    mean: torch.Tensor
    std: torch.Tensor
    fitted: torch.Tensor

    def __init__(self, latent_shape: tuple[int | None, ...]):
        super().__init__()
        channels, *size = latent_shape
        shape = (channels or 1, *(1 for _ in size))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, batches: Iterable[torch.Tensor]) -> LatentStats:
        """Compute mean and standard deviation of batches of raw latents (B, *L), accumulated in float64."""
        count = 0
        total = squares = torch.zeros((), dtype=torch.float64, device=self.mean.device)
        for raw in batches:
            if raw.shape[1] != self.mean.shape[0] or raw.ndim != self.mean.ndim + 1:
                raise ShapeError(f"expected raw latents (B, {self.mean.shape[0]}, ...), got {tuple(raw.shape)}")
            rows = raw.detach().double().transpose(0, 1).flatten(1)  # (channels, values)
            count += rows.shape[1]
            total = total + rows.sum(1)
            squares = squares + rows.square().sum(1)
        if count == 0:
            raise ShapeError("expected at least one batch of raw latents, got none")
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0)
        # A constant dimension carries no information; dividing by a standard deviation of zero would make it noise.
        std = variance.sqrt().clamp_min(1e-6)
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.std.copy_(std.reshape(self.std.shape))
        self.fitted.fill_(True)
        return self

    def values(self) -> dict[str, list[float]]:
        """Return mean and standard deviation as JSON values, exact to the last bit."""
        return {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}

    def restore(self, mean: Sequence[float], std: Sequence[float]) -> LatentStats:
        """Set statistics that `values` returned; raise `ShapeError` for those of other latents."""
        if not len(mean) == len(std) == self.mean.numel():
            raise ShapeError(f"expected statistics of {self.mean.numel()} dimensions, got {len(mean)} and {len(std)}")
        for buffer, numbers in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.tensor(numbers, dtype=torch.float64).reshape(buffer.shape))
        self.fitted.fill_(True)
        return self

    def standardise(self, raw: torch.Tensor) -> torch.Tensor:
        """Convert raw latents to standardised latents."""
        return (raw - self.mean) / self.std

    def unstandardise(self, z: torch.Tensor) -> torch.Tensor:
        """Convert standardised latents to raw latents."""
        return torch.addcmul(self.mean, z, self.std)
