"""When a figure has stopped rising: the rule by which the learning rate falls and training ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

RISE = 0.05  # in the figure's unit, here dB; less does not count as one
FALLS, FACTOR = 2, 0.25  # how often the rate falls, and to which share of itself


@dataclass
class Plateau:
    """Follows a figure that is measured every `interval` steps, PSNR in dB for an autoencoder.

    When its peak has not risen by 0.05 in `patience` measurements, the rate falls to a quarter. When that happens again
    after two falls, training is over. Neither happens before `min_steps`.

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
        """What the learning rate is multiplied by."""
        return FACTOR**self.falls

    def measured(self, figure: float, step: int) -> None:
        """Take a measurement."""
        if figure >= self.peak + RISE:
            self.peak, self.stale = figure, 0
        else:
            self.stale += 1
        if self.falls < FALLS and self._stalled(step):
            self.falls, self.stale = self.falls + 1, 0

    def over(self, step: int) -> bool:
        """Whether training is to end at this step."""
        return self.falls == FALLS and self._stalled(step)

    def earliest_end(self, step: int) -> int:
        """The step at which training will end if nothing rises from now on."""
        step -= step % self.interval  # the last measurement
        stall = max(self.min_steps, step + max(0, self.patience - self.stale) * self.interval)
        return stall + (FALLS - self.falls) * self.patience * self.interval

    def _stalled(self, step: int) -> bool:
        return step >= self.min_steps and self.stale >= self.patience
