"""Where the training of an autoencoder is at a step."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from .base import Autoencoder
from .plateau import Plateau

# Of the averaged weights; the average is shorter in the first steps, where the weights move far.
_DECAY = 0.995


class TrainingState:
    """Weights, their average, the optimizer, and what was measured; all that decides how training goes on.

    checkpoint: what `checkpoint` returned at some step, to go on from there; None is the beginning.
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
        self.losses: dict[str, float] = {}  # their sums since the last measurement
        self.best, self.best_psnr = copy.deepcopy(self.averaged.state_dict()), -math.inf
        if checkpoint is not None:
            self._load(checkpoint)

    def checkpoint(self) -> dict[str, Any]:
        """Everything, as tensors and plain values."""
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
        """Count a step with these losses, and move the averaged weights towards those of the model."""
        weight = max(1 - _DECAY, 9 / (10 + self.step))
        for average, new in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            average.lerp_(new, weight)
        for buffer, value in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
            buffer.copy_(value)
        self.step += 1
        for name, loss in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss

    def mean_losses(self) -> dict[str, float]:
        """Of each loss its mean over the steps since the last measurement that counts."""
        interval = self.plateau.interval
        return {name: total / (self.step % interval or interval) for name, total in self.losses.items()}

    def take(self, row: dict[str, Any]) -> None:
        """A measurement that counts: it decides about the best weights and the rate."""
        self.losses = {}
        if self.is_best(row):
            self.best, self.best_psnr = copy.deepcopy(self.averaged.state_dict()), row.get("psnr_db", -math.inf)
        if "psnr_db" in row:
            self.plateau.measured(row["psnr_db"], self.step)

    def is_best(self, row: dict[str, Any]) -> bool:
        """Whether no weights had a better PSNR; without images held out the last weights are the best."""
        return row.get("psnr_db", -math.inf) >= self.best_psnr
