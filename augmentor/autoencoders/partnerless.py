"""Samples without a partner: they are kept unchanged and counted, and one warning is issued."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ..exceptions import AugmentorWarning, ReferenceSetError
from ..latents import Latents, label_keys
from ..policies import LatentPolicy


class Partnerless:
    """Counter of samples without a partner in this process.

    strict: raise `ReferenceSetError` instead of warning, except for ignored labels.

    On the CPU the warning is issued at once. On CUDA the host does not wait for the count, so it is issued at a later
    call. On other accelerators there is no warning, only `count`. With `strict` the host waits.
    """

    def __init__(self, strict: bool):
        self.strict = strict
        self._count: int | torch.Tensor = 0  # summed on the device
        self._arrived: torch.Tensor | None = None  # count that an earlier call copied from the device
        self._warned = False

    @property
    def count(self) -> int:
        """Number of samples without a partner so far."""
        return int(self._count)

    def note(self, made: Latents, policy: LatentPolicy, fitted: bool) -> None:
        """Count the samples that a policy kept; warn or raise."""
        if made.kept is None:
            return
        self._count = self._count + made.kept.sum()
        if self.strict:
            missing = made.kept if made.labels is None else made.kept & (label_keys(made.labels) >= 0)
            if bool(missing.any()):
                raise ReferenceSetError(_message(int(missing.sum()), len(made), policy, fitted))
        elif not self._warned and self._some():
            self._warned = True
            count = self.count if made.kept.device.type == "cpu" else None
            warnings.warn(
                _message(count, len(made), policy, fitted, ", which are kept unchanged"),
                AugmentorWarning,
                stacklevel=5,
            )

    def _some(self) -> bool:
        count = self._count
        if not isinstance(count, torch.Tensor) or count.device.type == "cpu":
            return bool(count)
        if count.device.type != "cuda":
            return False
        if self._arrived is None:
            self._arrived = torch.zeros((), dtype=torch.int64, pin_memory=True)
        some = bool(self._arrived)
        self._arrived.copy_(count, non_blocking=True)
        return some

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_count": 0, "_arrived": None}


def _message(count: int | None, total: int, policy: LatentPolicy, fitted: bool, result: str = "") -> str:
    of = "some" if count is None else f"{count} of {total}"
    where = (
        "the reference set has no other image of their class, or their label is ignored; add images of these classes, "
        "or use a policy without partners, such as gaussian"
        if fitted
        else "without a reference set, partners are images of the same class in the batch; call augment.fit(dataset)"
    )
    return f"policy {policy} found no partner for {of} images{result}: {where}"
