"""State of the training of an autoencoder at a step."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from .base import Autoencoder
from .plateau import Plateau

# Decay of the averaged weights. It is smaller in the first steps, in which the weights change fast.
_DECAY = 0.995


class TrainingState:
    """Weights, their average, the optimiser and the measurements, which together determine the next steps.

    checkpoint: return value of `checkpoint` at the step to resume from; None starts at step 0.
    """

    def __init__(
        self,
        model: Autoencoder,
        optimizer: torch.optim.Optimizer,
        plateau: Plateau,
        checkpoint: dict[str, Any] | None = None,
    ):
        self.model, self.optimizer, self.plateau = model, optimizer, plateau
        self.averaged = copy.deepcopy(model).requires_grad_(False).eval()
        self.step, self.seconds = 0, 0.0
        self.losses: dict[str, float] = {}  # sums since the last measurement
        self.best, self.best_psnr = copy.deepcopy(self.averaged.state_dict()), -math.inf
        if checkpoint is not None:
            self._load(checkpoint)

    def checkpoint(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        return {
            **{name: getattr(self, name).state_dict() for name in ("model", "averaged", "optimizer")},
            **{name: getattr(self, name) for name in ("step", "seconds", "losses", "best", "best_psnr")},
            "plateau": vars(self.plateau),
        }

    def _load(self, checkpoint: dict[str, Any]) -> None:
        for name in ("model", "averaged", "optimizer"):
            getattr(self, name).load_state_dict(checkpoint[name])
        for name in ("step", "seconds", "losses", "best", "best_psnr"):
            setattr(self, name, checkpoint[name])
        self.plateau = Plateau(**checkpoint["plateau"])

    @torch.no_grad()
    def stepped(self, losses: dict[str, float]) -> None:
        """Count a step with these losses, and update the averaged weights."""
        weight = max(1 - _DECAY, 9 / (10 + self.step))
        for average, new in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            average.lerp_(new, weight)
        for buffer, value in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
            buffer.copy_(value)
        self.step += 1
        for name, loss in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss

    def mean_losses(self) -> dict[str, float]:
        """Return the mean of each loss over the steps since the last regular measurement."""
        interval = self.plateau.interval
        return {name: total / (self.step % interval or interval) for name, total in self.losses.items()}

    def take(self, row: dict[str, Any]) -> None:
        """Record a regular measurement, which determines the best weights and the learning rate."""
        self.losses = {}
        if self.is_best(row):
            self.best, self.best_psnr = copy.deepcopy(self.averaged.state_dict()), row.get("psnr_db", -math.inf)
        if "psnr_db" in row:
            self.plateau.measured(row["psnr_db"], self.step)

    def is_best(self, row: dict[str, Any]) -> bool:
        """Return whether no weights had a better PSNR; without held-out images the last weights are the best."""
        return row.get("psnr_db", -math.inf) >= self.best_psnr
