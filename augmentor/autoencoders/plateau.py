"""Rule that reduces the learning rate and ends training when a metric stops increasing."""

from __future__ import annotations

import math
from dataclasses import dataclass

RISE = 0.05  # in the metric's unit, here dB; smaller increases do not count
FALLS, FACTOR = 2, 0.25  # number of reductions of the learning rate, and factor of each


@dataclass
class Plateau:
    """Plateau rule for a metric that is measured every `interval` steps, PSNR in dB for an autoencoder.

    If the best value has not increased by 0.05 in `patience` measurements, the rate is reduced to a quarter. If this
    happens again after two reductions, training ends. Neither happens before `min_steps`.

    >>> plateau = Plateau(patience=2, interval=100, min_steps=0)
    >>> for step, psnr in enumerate([20.0, 20.01, 20.02, 21.0]):
    ...     plateau.measured(psnr, 100 * step)
    >>> plateau.rate, plateau.over(300), plateau.earliest_end(300)
    (0.25, False, 700)
    """

    patience: int
    interval: int
    min_steps: int
    peak: float = -math.inf
    stale: int = 0
    falls: int = 0

    @property
    def rate(self) -> float:
        """Factor by which the learning rate is multiplied."""
        return FACTOR**self.falls

    def measured(self, figure: float, step: int) -> None:
        """Record a measurement."""
        if figure >= self.peak + RISE:
            self.peak, self.stale = figure, 0
        else:
            self.stale += 1
        if self.falls < FALLS and self._stalled(step):
            self.falls, self.stale = self.falls + 1, 0

    def over(self, step: int) -> bool:
        """Return whether training ends at this step."""
        return self.falls == FALLS and self._stalled(step)

    def earliest_end(self, step: int) -> int:
        """Return the step at which training ends if the metric does not increase any more."""
        step -= step % self.interval  # the last measurement
        stall = max(self.min_steps, step + max(0, self.patience - self.stale) * self.interval)
        return stall + (FALLS - self.falls) * self.patience * self.interval

    def _stalled(self, step: int) -> bool:
        return step >= self.min_steps and self.stale >= self.patience
